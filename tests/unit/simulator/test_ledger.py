from __future__ import annotations

from pathlib import Path

import pytest

from services.simulator.instruments import Trade
from services.simulator.ledger import KEEP_S, Ledger, LedgerError
from services.simulator.venues import INSTRUMENTS

IDS = [1] * len(INSTRUMENTS)


def trade(number: int, ts_ms: int, market: int = 0, *, forced: bool = False) -> Trade:
    return Trade(INSTRUMENTS[market], number, ts_ms, number % 2 == 0, 9_600_000, 10**10, forced)


def test_what_was_written_is_read_back_exactly_by_another_process(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, INSTRUMENTS)
    trades = [trade(1, 100_000), trade(2, 100_999, forced=True), trade(1, 100_999, 5)]
    ledger.append(100, trades, IDS)
    # Not closed: a killed process does not close anything either.
    again = Ledger(tmp_path, INSTRUMENTS)
    assert list(again.trades(100, 101)) == trades
    assert list(again.trades(100, 101, INSTRUMENTS[5].market)) == trades[2:]
    assert again.last() == (100, IDS)


def test_the_state_survives(tmp_path: Path) -> None:
    Ledger(tmp_path, INSTRUMENTS).put("live_from", 17)
    again = Ledger(tmp_path, INSTRUMENTS)
    assert (again.get("live_from"), again.get("other")) == (17, None)


def test_a_trade_is_found_by_its_id(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, INSTRUMENTS)
    upcoming = list(IDS)
    for second in range(100, 150):
        upcoming[3] += 2 if second % 5 else 0
        ledger.append(second, [], upcoming)
    market = INSTRUMENTS[3].market
    assert ledger.second_of(market, 1) == 101
    assert ledger.second_of(market, 9) == 106
    assert ledger.second_of(market, upcoming[3]) is None


def test_uncertain_seconds_are_remembered(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, INSTRUMENTS)
    ledger.mark_uncertain(5, 8)
    assert ledger.uncertain(0, 7) == [5, 6]


def test_seconds_older_than_the_bars_that_can_be_checked_are_dropped(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, INSTRUMENTS)
    ledger.append(1, [trade(1, 1000)], IDS)
    now = -(-(KEEP_S + 2) // 600) * 600
    ledger.append(now, [], IDS)
    assert list(ledger.trades(0, now)) == []


def test_a_ledger_of_other_venues_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path, INSTRUMENTS).close()
    with pytest.raises(LedgerError, match="made for other SIMULATOR_VENUES"):
        Ledger(tmp_path, INSTRUMENTS[1:])
    Ledger(tmp_path, INSTRUMENTS).close()
