"""freqtrade's own database, read and written with its own Python."""

from __future__ import annotations

from pathlib import Path

from tests.integration.freqtrade.inside import run


def test_day_begins_at_midnight_utc(tmp_path: Path) -> None:
    run(
        tmp_path / "trades.sqlite",
        """
trade(1), trade(2, MIDNIGHT - 1, -5.0), trade(3, MIDNIGHT, -7.0), trade(4, MIDNIGHT + 1, 2.0)
assert ledger.open_ids() == [1]
assert ledger.closed_since(MIDNIGHT) == {3: -7.0, 4: 2.0}
""",
    )


def test_profit_at_midnight_is_kept_with_the_trade_until_it_has_ended(tmp_path: Path) -> None:
    run(
        tmp_path / "trades.sqlite",
        """
one, _ = trade(1), trade(2)
ledger.carry(DAY, {one.id: -3.5, 99: 1.0})
assert ledger.carried(DAY) == {one.id: -3.5}
assert ledger.carried(DAY + 1) == {}
one.is_open, one.close_date, one.close_profit_abs = False, moment(MIDNIGHT + 1), -4.0
Trade.commit()
assert ledger.carried(DAY) == {one.id: -3.5}
ledger.carry(DAY + 1, {one.id: -9.0})
assert ledger.carried(DAY) == {one.id: -3.5}
""",
    )


def test_only_what_was_bought_is_told_and_only_once(tmp_path: Path) -> None:
    run(
        tmp_path / "trades.sqlite",
        """
def untold():
    return [(t.id, key, fill.event) for t, key, fill in ledger.undelivered()]

bought, waiting = trade(1), trade(2, amount=0)
sold, cancelled = trade(3, MIDNIGHT, 1.0), trade(4, MIDNIGHT, amount=0)
by_hand = trade(5)
by_hand.enter_tag = "force_entry"
Trade.commit()
opened = [(bought.id, "sf_opened", "opened"), (sold.id, "sf_opened", "opened")]
assert untold() == [*opened, (sold.id, "sf_closed", "closed")]
for told, key, _ in list(ledger.undelivered()):
    ledger.mark(told, key, "1-0")
assert untold() == []
""",
    )


def test_locks_of_pair_and_of_all_pairs_by_side_longest_first(tmp_path: Path) -> None:
    run(
        tmp_path / "trades.sqlite",
        """
PairLocks.timeframe = "1m"
now, pair = datetime.now(UTC), "BTC/USDT:USDT"
PairLocks.lock_pair(pair, now + timedelta(minutes=3), "short only", side="short")
PairLocks.lock_pair("*", now + timedelta(minutes=9), "all")
PairLocks.lock_pair("ETH/USDT:USDT", now + timedelta(minutes=9), "other")
PairLocks.lock_pair(pair, now - timedelta(minutes=9), "over")
assert ledger.lock_reasons(pair, "long") == ["all"]
assert ledger.lock_reasons(pair, "short") == ["all", "short only"]
assert set(ledger.lock_reasons("*", "*")) == {"all"}
""",
    )
