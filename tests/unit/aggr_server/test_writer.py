from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from aggr_server import writer as of
from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable, PointsRefused
from aggr_server.settings import Connections
from aggr_server.spool import Spool
from aggr_server.wire import Bar, ClosedSecond, Gap, Market
from aggr_server.writer import Writer

BEGIN = 1_700_000_000


def bar(second: int, close: float = 1.0, market: str = "A:x") -> Bar:
    return Bar(second, market, close, close, close, close, 1.0, 0.0, 1, 0, 0.0, 0.0)


def closed(number: int, *bars: Bar, amended: list[Bar] | None = None) -> ClosedSecond:
    return ClosedSecond("c", "e", number, BEGIN + number, 0, None, list(bars), amended or [])


class Fake(InfluxClient):
    """An InfluxDB in memory. `failures`: what becomes of the next writes; None: they go well."""

    def __init__(self) -> None:
        super().__init__(Connections())
        self.points: dict[str, str] = {}
        self.writes: list[int] = []
        self.failures: list[Exception | None] = []
        self.impossible: set[str] = set()
        self.meanwhile: list[ClosedSecond] = []
        self.spool: Spool | None = None

    async def ping(self) -> None:
        pass

    async def write(
        self, lines: Iterable[str], *, precision: str = "s", retention_policy: str = ""
    ) -> None:
        if self.failures and (failure := self.failures.pop(0)):
            raise failure
        lines = list(lines)
        self.writes.append(len(lines))
        refused = 0
        for line in lines:
            if any(text in line for text in self.impossible):
                refused += 1
                continue
            head, fields, second = line.rsplit(" ", 2)
            self.points[f"{head} {second}"] = fields
        while self.meanwhile and self.spool:
            self.spool.append(self.meanwhile.pop())
        if refused:
            raise PointsRefused(f"partial write: nothing fits dropped={refused} (HTTP 400)")

    def close_of(self, second: int, market: str = "A:x") -> str | None:
        fields = self.points.get(f"trades_1s,market={market} {second}")
        return fields.split("close=")[1].split(",")[0] if fields else None

    def gaps(self, reason: str) -> dict[str, str]:
        return {k.split(",")[1]: v for k, v in self.points.items() if f"reason={reason}" in k}


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool.open(tmp_path / "spool", 8 << 20)
    yield made
    made.close()


@pytest.fixture
def influx(spool: Spool) -> Fake:
    fake = Fake()
    fake.spool = spool
    return fake


async def test_a_bar_amended_while_it_is_written_is_written_again(
    influx: Fake, spool: Spool
) -> None:
    spool.append(closed(0, bar(BEGIN, 1.0)))
    influx.meanwhile = [closed(1, amended=[bar(BEGIN, 2.0)])]
    assert await Writer(influx, spool).flush()
    assert influx.close_of(BEGIN) == "2.0"
    assert influx.writes == [1, 1]


async def test_only_the_newest_of_a_bar_is_written(influx: Fake, spool: Spool) -> None:
    for price in (1.0, 2.0, 3.0):
        spool.append(closed(0, amended=[bar(BEGIN, price)]))
    assert await Writer(influx, spool).flush()
    assert (influx.close_of(BEGIN), influx.writes) == ("3.0", [1])


@pytest.mark.parametrize("error", [InfluxUnavailable("refused"), InfluxError("no database")])
async def test_nothing_is_confirmed_before_it_is_stored(
    influx: Fake, spool: Spool, error: Exception
) -> None:
    writer = Writer(influx, spool, batch=2)
    spool.append(closed(0, *(bar(BEGIN, market=f"A:{n}") for n in range(5))))
    for taken in range(3):
        influx.failures = [None] * taken + [error]
        assert not await writer.flush()
        assert (writer.backlog, writer.connected) == (1, False)
    assert await writer.flush()
    assert (writer.backlog, writer.connected) == (0, True)
    assert len(influx.points) == 5


async def test_writes_are_of_the_size_asked_for_and_larger_when_behind(
    influx: Fake, spool: Spool
) -> None:
    writer = Writer(influx, spool, batch=10)
    spool.append(closed(0, *(bar(BEGIN, market=f"A:{n}") for n in range(25))))
    assert await writer.flush()
    assert influx.writes == [10, 10, 5]
    influx.writes.clear()
    for number in range(1, 101):
        spool.append(closed(number, *(bar(BEGIN + number, market=f"A:{n}") for n in range(25))))
    assert await writer.flush()
    assert len(influx.points) == 101 * 25
    assert max(influx.writes) > 500
    influx.writes.clear()
    spool.append(closed(101, *(bar(BEGIN + 101, market=f"A:{n}") for n in range(25))))
    assert await writer.flush()
    assert max(influx.writes) == 10


async def test_a_write_that_is_too_much_is_made_smaller(influx: Fake, spool: Spool) -> None:
    writer = Writer(influx, spool, batch=1000)
    spool.append(closed(0, *(bar(BEGIN, market=f"A:{n}") for n in range(1000))))
    for _ in range(8):
        influx.failures = [InfluxUnavailable("answered 413")]
        assert not await writer.flush()
    assert await writer.flush()
    assert influx.writes[0] == of.SMALL_BATCH
    assert sum(influx.writes) == 1000


@pytest.mark.parametrize("impossible", [{"A:3"}, {"A:1", "A:2"}, {f"A:{n}" for n in range(8)}])
async def test_points_that_never_fit_are_given_up_alone(
    influx: Fake, spool: Spool, caplog: pytest.LogCaptureFixture, impossible: set[str]
) -> None:
    writer = Writer(influx, spool)
    influx.impossible = {f"trades_1s,market={market} " for market in impossible}
    for number in range(3):
        spool.append(closed(number, *(bar(BEGIN + number, market=f"A:{n}") for n in range(8))))
    assert await writer.flush()
    assert (writer.backlog, writer.points_refused) == (0, 3 * len(impossible))
    assert influx.gaps("refused") == {
        f"market={market}": f"from_s={BEGIN}i,to_s={BEGIN + 3}i" for market in impossible
    }
    for n in range(8):
        stored = influx.close_of(BEGIN + 1, f"A:{n}") is not None
        assert stored != (f"A:{n}" in impossible)
    (error,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "influxdb refused points" in error.getMessage()


async def test_many_impossible_points_are_not_looked_for_one_by_one(
    influx: Fake, spool: Spool
) -> None:
    writer = Writer(influx, spool, batch=5000)
    influx.impossible = {"trades_1s,"}
    spool.append(closed(0, *(bar(BEGIN, market=f"A:{n}") for n in range(3000))))
    assert await writer.flush()
    assert writer.points_refused == 3000
    assert len(influx.writes) < 5


async def test_seconds_lost_from_the_disk_are_gaps_of_every_market(
    tmp_path: Path, influx: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "other"
    made = Spool.open(folder, 8 << 20)
    for number in range(5):
        made.append(closed(number, bar(BEGIN + number)))
    made.close()
    (path,) = folder.glob("*.segment")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    made = Spool.open(folder, 8 << 20)
    try:
        writer = Writer(influx, made)
        writer.add_markets([Market("B:quiet", "B", "BTC", "USD", "spot")], BEGIN)
        assert await writer.flush()
    finally:
        made.close()
    expected = [Gap(market, BEGIN, BEGIN + 3, "spool") for market in ("A:x", "B:quiet")]
    assert writer.take_down_gaps() == expected
    assert writer.take_down_gaps() == []
    assert set(influx.gaps("spool")) == {"market=A:x", "market=B:quiet"}
    assert [influx.close_of(BEGIN + n) for n in range(5)] == ["1.0", "1.0", None, "1.0", "1.0"]
    assert "seconds lost from the spool" in caplog.text


async def test_a_record_of_another_kind_stops_nothing(
    influx: Fake, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aggr_server import spool as module

    spool.append(closed(0, bar(BEGIN)))
    monkeypatch.setattr(module, "encode", lambda _: b"\xc1")
    spool.append(closed(1))
    monkeypatch.undo()
    spool.append(closed(2, bar(BEGIN + 2)))
    writer = Writer(influx, spool)
    assert await writer.flush()
    assert writer.take_down_gaps() == [Gap("A:x", BEGIN + 1, BEGIN + 2, "spool")]
    assert influx.close_of(BEGIN + 2) == "1.0"
