"""When what was missed is read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from aggr_server.influx import InfluxUnavailable
from aggr_server.wire import Market
from services.core.outage import Outage
from services.dashboard import readback as module
from services.dashboard.readback import PUT_OFF_MS, ReadBack
from services.dashboard.ring import empty
from services.dashboard.symbol import Stored, SymbolBars
from services.market.live import DATABASE_LAG_S

BEGIN = 1_795_352_400


class Database:
    """Answers `seconds`; while `away`, not at all. `asked`: the spans."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.away = 0
        self.read = asyncio.Event()

    async def seconds(
        self, markets: Sequence[Market], reference: str, from_s: int, to_s: int
    ) -> Stored:
        self.asked.append((from_s, to_s))
        if self.away:
            self.away -= 1
            raise InfluxUnavailable("away")
        self.read.set()
        return Stored(from_s, to_s, empty(to_s - from_s))

    async def oldest(self, source: object, markets: object) -> int | None:
        return None


class Rig:
    def __init__(self, now_s: int) -> None:
        self.now_ms = now_s * 1000
        self.database = Database()
        self.symbol = SymbolBars("BTC")
        self.symbol.reach(now_s - 1)
        self.readback = ReadBack(
            self.database,  # type: ignore[arg-type]
            markets=lambda base: [],
            on_read=lambda symbol, spans: None,
            outage=Outage("InfluxDB", "nowhere"),
            now_ms=lambda: self.now_ms,
        )

    async def until_read(self) -> None:
        task = asyncio.create_task(self.readback.run())
        try:
            async with asyncio.timeout(10):
                await self.database.read.wait()
            await asyncio.sleep(0)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_span_is_read_in_whole_minutes_when_it_is_certainly_stored() -> None:
    rig = Rig(BEGIN + 1_000)
    rig.readback.want(rig.symbol, BEGIN + 130, BEGIN + 131)

    await rig.until_read()

    assert rig.database.asked == [(BEGIN + 120, BEGIN + 180)]


async def test_the_newest_seconds_are_waited_for_and_not_read_beyond() -> None:
    rig = Rig(BEGIN + 10)
    rig.readback.want(rig.symbol, BEGIN + 5, BEGIN + 8)
    early = asyncio.create_task(rig.until_read())
    await asyncio.sleep(0.05)
    assert rig.database.asked == []

    rig.now_ms += DATABASE_LAG_S * 1000
    rig.readback.want(rig.symbol, BEGIN + 5, BEGIN + 8)
    await early
    assert rig.database.asked == [(BEGIN, BEGIN + 10)]


async def test_spans_that_keep_coming_are_read_all_the_same() -> None:
    rig = Rig(BEGIN + 100)
    for i in range(60):
        rig.readback.want(rig.symbol, BEGIN + i, BEGIN + 100 + i)
    rig.now_ms += PUT_OFF_MS + DATABASE_LAG_S * 1000

    await rig.until_read()

    assert rig.database.asked[0][0] == BEGIN


async def test_the_hours_of_the_beginning_go_before_what_is_waited_for() -> None:
    rig = Rig(BEGIN + 100)
    rig.readback.load(rig.symbol)
    # Seconds that came before are read as well: their prices may be another market's.
    assert not rig.symbol._live

    await rig.until_read()

    [(from_s, to_s)] = rig.database.asked
    assert from_s <= rig.symbol.ring.start
    assert to_s <= BEGIN + 100 - DATABASE_LAG_S


async def test_while_influxdb_is_away_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    rig = Rig(BEGIN + 1_000)
    rig.database.away = 2
    rig.readback.want(rig.symbol, BEGIN, BEGIN + 60)

    await rig.until_read()

    assert rig.database.asked == [(BEGIN, BEGIN + 60)] * 3
    assert rig.readback.problem == ""


async def test_live_seconds_of_the_span_are_known_to_be_incomplete_at_once() -> None:
    rig = Rig(BEGIN + 100)
    assert rig.symbol._live

    rig.readback.want(rig.symbol, BEGIN + 99, BEGIN + 100)

    assert not rig.symbol._live
