from __future__ import annotations

from itertools import pairwise

import pytest

from services.simulator.candles import INTERVALS
from services.simulator.faults import Faults
from services.simulator.market import Market
from services.simulator.tape import Tape
from services.simulator.venues import INSTRUMENTS

from .conftest import LIVE_FROM, Clock

PERP = next(i for i in INSTRUMENTS if i.kind == "perp" and i.basis_bp == 0)


@pytest.mark.parametrize("interval", ["1m", "5m", "15m", "1h"])
def test_a_full_page_of_aligned_candles_is_served(
    market: Market, clock: Clock, interval: str
) -> None:
    length_ms = INTERVALS[interval] * 1000
    clock.now_ms = (LIVE_FROM + 90) * 1000
    found = market.candles(PERP).latest(length_ms // 1000, 499)
    assert len(found) == 499
    assert found[-1].open_ms == clock.now_ms // length_ms * length_ms
    assert all(b.open_ms - a.open_ms == length_ms for a, b in pairwise(found))
    for candle in found:
        assert candle.low <= min(candle.open, candle.close)
        assert candle.high >= max(candle.open, candle.close)
        assert candle.base > 0


def test_candles_of_the_past_do_not_change_as_time_goes_on(market: Market, clock: Clock) -> None:
    clock.now_ms = (LIVE_FROM + 10) * 1000
    early = market.candles(PERP).latest(60, 30)
    clock.now_ms += 200_000
    late = {c.open_ms: c for c in market.candles(PERP).latest(60, 40)}
    assert all(late[c.open_ms] == pytest.approx(c) for c in early[:-1])


def test_a_minute_of_trades_makes_its_candle(market: Market, clock: Clock) -> None:
    for second in range(LIVE_FROM, LIVE_FROM + 130):
        market.make(second)
    clock.now_ms = (LIVE_FROM + 130) * 1000
    candle = market.candles(PERP).latest(60, 2)[0]
    trades = Tape(market, PERP.exchange, Faults()).since(
        PERP.market, candle.open_ms, candle.close_ms, 100_000
    )
    assert candle.trades == len(trades)
    assert candle.base == pytest.approx(sum(float(t.size) for t in trades))
    prices = [float(t.price) for t in trades]
    assert candle[2:6] == (prices[0], max(prices), min(prices), prices[-1])
