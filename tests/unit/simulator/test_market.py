from __future__ import annotations

from collections.abc import Callable

import pytest

from services.simulator.faults import Faults
from services.simulator.instruments import Trade
from services.simulator.ledger import LedgerError
from services.simulator.market import FIRST_ID, Market
from services.simulator.tape import Tape
from services.simulator.venues import INSTRUMENTS

from .conftest import LIVE_FROM, Clock

SPOT = INSTRUMENTS[0]


def made(market: Market, clock: Clock, seconds: int) -> list[Trade]:
    assert market.made_until is not None
    trades = [t for _ in range(seconds) for t in market.make(market.made_until)]
    clock.now_ms = market.made_until * 1000
    return trades


def test_a_killed_process_continues_the_same_market(
    open_market: Callable[[], Market], market: Market, clock: Clock
) -> None:
    uninterrupted = made(market, clock, 20)
    market.ledger._db.execute("DELETE FROM seconds WHERE second >= ?", (LIVE_FROM + 8,))
    restarted = open_market()
    assert restarted.live_from == LIVE_FROM
    assert restarted.made_until == LIVE_FROM + 8
    again = made(restarted, clock, 12)
    assert again == [t for t in uninterrupted if t.ts_ms >= (LIVE_FROM + 8) * 1000]


def test_ids_count_up_by_one_per_market(market: Market, clock: Clock) -> None:
    trades = made(market, clock, 15)
    for instrument in INSTRUMENTS:
        ids = [t.id for t in trades if t.instrument == instrument]
        assert ids == list(range(FIRST_ID, FIRST_ID + len(ids)))


def test_a_ledger_of_another_seed_is_refused(market: Market) -> None:
    with pytest.raises(LedgerError, match="SIMULATOR_SEED=1"):
        Market(2, INSTRUMENTS, market.ledger)


def test_seconds_are_made_once_and_in_order(market: Market) -> None:
    with pytest.raises(ValueError, match="not the next one"):
        market.make(LIVE_FROM + 1)


def test_trades_that_have_not_happened_yet_are_not_served(market: Market, clock: Clock) -> None:
    trades = [t for t in made(market, clock, 5) if t.instrument == SPOT]
    clock.now_ms = LIVE_FROM * 1000 + 2500
    happened = [t for t in trades if t.ts_ms <= clock.now_ms]
    tape = Tape(market, SPOT.exchange, Faults())
    assert tape.since(SPOT.market, 0, 1 << 45, 10_000) == happened
    assert tape.before(SPOT.market, 1 << 45, 10_000) == happened
    assert tape.from_id(SPOT.market, FIRST_ID, 10_000) == happened


def test_pages_by_id_and_time_have_no_holes(market: Market, clock: Clock) -> None:
    trades = [t for t in made(market, clock, 30) if t.instrument == SPOT]
    name, tape = SPOT.market, Tape(market, SPOT.exchange, Faults())
    assert tape.from_id(name, FIRST_ID + 10, 50) == trades[10:60]
    assert tape.before_id(name, FIRST_ID + 60, 25) == trades[35:60]
    middle = trades[100].ts_ms
    assert tape.before(name, middle, 7) == [t for t in trades if t.ts_ms < middle][-7:]
    assert tape.since(name, middle, middle + 999, 5)[0].ts_ms >= middle


def test_history_ends_where_live_trades_begin(market: Market, clock: Clock) -> None:
    trades = [t for t in made(market, clock, 2) if t.instrument == SPOT]
    last = market.bars(SPOT, -2, 0)
    first_price = float(trades[0].price)
    assert first_price == pytest.approx(float(last.close[-1]), rel=3e-4)


def test_recomputed_bars_equal_the_trades_that_were_made(market: Market, clock: Clock) -> None:
    trades = [t for t in made(market, clock, 10) if t.instrument == SPOT]
    found = market.bars(SPOT, 0, 10)
    assert found.cbuy.sum() + found.csell.sum() == len(trades)
    assert found.vbuy.sum() == pytest.approx(sum(float(t.notional) for t in trades if t.buy))
