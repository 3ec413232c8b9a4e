from __future__ import annotations

from collections.abc import Iterable

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from aggr_server.wire import Bar, ClosedSecond
from aggr_server.writer import Writer


def second(bar: Bar) -> ClosedSecond:
    return ClosedSecond("c", "e", 1, bar.time, 0, None, [bar])


def bar(close: float) -> Bar:
    return Bar(1_700_000_000, "A:x", close, close, close, close, 1.0, 0.0, 1, 0, 0.0, 0.0)


class SlowInflux(InfluxClient):
    """Takes every point, and lets something happen while it does."""

    def __init__(self) -> None:
        super().__init__(Connections())
        self.lines: list[str] = []
        self.meanwhile: list[ClosedSecond] = []
        self.writer: Writer | None = None

    async def ping(self) -> None:
        pass

    async def write(
        self, lines: Iterable[str], *, precision: str = "s", retention_policy: str = ""
    ) -> None:
        self.lines += lines
        while self.meanwhile and self.writer:
            self.writer.add(self.meanwhile.pop())


async def test_a_bar_amended_while_it_is_written_is_written_again() -> None:
    influx = SlowInflux()
    writer = influx.writer = Writer(influx)
    influx.meanwhile = [second(bar(2.0))]
    writer.add(second(bar(1.0)))
    await writer.flush()
    assert writer.backlog == 1
    await writer.flush()
    assert writer.backlog == 0
    assert ["close=1.0" in influx.lines[0], "close=2.0" in influx.lines[1]] == [True, True]
