"""What may be asked of the past."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest

from aggr_server.influx import InfluxClient, InfluxUnavailable
from aggr_server.settings import Connections
from aggr_server.wire import Market, Timeframe
from services.dashboard.past import MOST_BARS, MOST_S, STEPS, Asked, BadRequest, Past
from services.dashboard.ring import Floats, empty
from services.dashboard.stored import StoredBars
from services.dashboard.symbol import SymbolBars

NOW = 1_795_352_400 + 1_234


async def no_markers(symbol: str, from_s: int, to_s: int) -> dict[str, list[dict[str, Any]]]:
    return {}


def past(newest: int | None = NOW - 1) -> Past:
    symbol = SymbolBars("BTC")
    if newest is not None:
        symbol.reach(newest)
    stored = StoredBars(InfluxClient(Connections()))
    return Past({"BTCUSDT": symbol}, stored, lambda base: [], no_markers, lambda: NOW * 1000)


def query(step: int = 60, from_s: int = NOW - 3600, to_s: int = NOW) -> dict[str, str]:
    return {"symbol": "BTCUSDT", "step": str(step), "from": str(from_s), "to": str(to_s)}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"symbol": "DOGEUSDT"}, "symbol=DOGEUSDT: known are BTCUSDT"),
        ({"symbol": ""}, "known are BTCUSDT"),
        ({"step": "7"}, "step=7: there are 1, 5, 15, 60, 300"),
        ({"step": "x"}, "step=x: a number"),
        ({"from": "-5"}, "from=-5: a number"),
        ({"from": "1e9"}, "from=1e9: a number"),
        ({"to": ""}, "to=: a number"),
        ({"to": "\u0661"}, "a number"),
        ({"from": str(NOW), "to": str(NOW)}, "from: must be before to"),
        ({"from": "0", "to": str(NOW)}, f"at most {MOST_BARS} bars"),
    ],
)
def test_bad_questions_are_refused_with_the_reason(change: dict[str, str], text: str) -> None:
    with pytest.raises(BadRequest, match=text):
        past().asked({**query(), **change})


@pytest.mark.parametrize("step", STEPS)
def test_whole_bars_are_answered_that_have_begun(step: int) -> None:
    asked = past().asked(query(step, NOW - 5 * step, NOW + 10_000))

    assert asked.from_s % step == asked.to_s % step == 0
    assert asked.from_s <= NOW - 5 * step < asked.from_s + step
    assert asked.to_s - step < NOW <= asked.to_s


def test_seconds_are_known_for_as_long_as_the_ring_reaches() -> None:
    found = past()
    asked = found.asked(query(5, NOW - 86_400 // 4))

    ring = found._symbols["BTCUSDT"].ring
    assert ring.start <= asked.from_s < ring.start + 5
    assert asked.from_s % 5 == 0


def test_nobody_is_sent_more_than_a_month() -> None:
    asked = past().asked(query(14_400, 0))

    assert NOW - asked.from_s == pytest.approx(MOST_S, abs=14_400)


def test_before_the_first_second_there_is_nothing_shorter_than_a_minute() -> None:
    asked = past(None).asked(query(5))

    assert asked.to_s - asked.from_s <= 5


async def test_bars_of_the_ring_need_no_database() -> None:
    noted: dict[str, object] = {}
    async with InfluxClient(Connections(influx_port=1)) as away:
        found = past()
        found._stored = StoredBars(away)
        found._note = noted.__setitem__
        bars = await found.history(Asked("BTCUSDT", 5, (NOW - 100) // 5 * 5, NOW // 5 * 5))

    assert len(bars.t) == len(bars.close) == len(bars.spot) == 20
    assert all(math.isnan(close or 0.0) for close in bars.close)
    assert (bars.oi_t, bars.markers) == ([], {})
    assert "Cannot connect" in str(noted["history"])


class Recording(StoredBars):
    """Remembers what was read: timeframe, and the first second."""

    def __init__(self) -> None:
        self.read: list[tuple[str, int, int]] = []

    async def bars(
        self,
        source: Timeframe,
        step: int,
        markets: Sequence[Market],
        reference: str,
        from_s: int,
        to_s: int,
    ) -> Floats:
        self.read.append((source.label, from_s, to_s))
        return empty((to_s - from_s) // step)

    async def oldest(self, source: Timeframe, markets: Sequence[Market]) -> int | None:
        return None


async def test_bars_that_may_not_be_stored_yet_are_made_of_minutes() -> None:
    found, stored = past(), Recording()
    found._stored = stored
    edge = NOW // 14_400 * 14_400
    first = edge - 10 * 14_400

    columns, _ = await found._older(("older", "BTCUSDT", 14_400, first, edge))

    (long, from_s, middle), (short, then, to_s) = stored.read
    assert (long, from_s, short, then, to_s) == ("4h", first, "1m", middle, edge)
    # Whatever ended less than half an hour ago is not trusted to be there.
    assert middle <= NOW - 14_400 - 1_800 < middle + 14_400
    assert columns.shape[1] == 10


async def test_many_who_ask_the_same_cost_one_reading() -> None:
    found, stored = past(), Recording()
    found._stored = stored
    key = ("older", "BTCUSDT", 60, NOW // 60 * 60 - 6_000, NOW // 60 * 60)

    answers = await asyncio.gather(*(found._once(key, 60.0, found._older) for _ in range(20)))

    assert len(stored.read) == 2
    assert all(answer is answers[0] for answer in answers)


async def test_a_failure_is_not_kept() -> None:
    found = past()
    tries = 0

    async def make(key: object) -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise InfluxUnavailable("away")
        return tries

    with pytest.raises(InfluxUnavailable):
        await found._once("key", 60.0, make)
    assert await found._once("key", 60.0, make) == 2
