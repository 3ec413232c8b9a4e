"""freqtrade's own database, read and written with its own Python."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.integration.freqtrade.bot import ROOT

PYTHON = ROOT / ".local" / "freqtrade" / "bin" / "python"
PREPARED = """
import sys
from datetime import UTC, datetime, timedelta
from freqtrade.persistence import PairLocks, Trade, init_db
from squeezeflow import ledger
from squeezeflow.daily import DAY_MS

init_db(f"sqlite:///{sys.argv[1]}")
PairLocks.timeframe = "1m"
DAY = 20_000
MIDNIGHT = DAY * DAY_MS

def moment(ts_ms):
    return datetime.fromtimestamp(ts_ms / 1000, UTC)

def trade(number, closed_ms=None, profit=0.0):
    made = Trade(
        pair="BTC/USDT:USDT", base_currency="BTC", stake_currency="USDT", exchange="binance",
        stake_amount=100, amount=1, open_rate=100, fee_open=0, fee_close=0, leverage=3,
        is_open=closed_ms is None, open_date=moment(MIDNIGHT - 1), enter_tag=f"sf:{number}",
    )
    if closed_ms is not None:
        made.close_date, made.close_profit_abs = moment(closed_ms), profit
    Trade.session.add(made)
    Trade.commit()
    return made
"""


def run(database: Path, script: str) -> None:
    """Run assertions in freqtrade's Python."""
    folders = (ROOT, ROOT / "aggr-server", ROOT / "freqtrade" / "user_data" / "strategies")
    done = subprocess.run(
        [str(PYTHON), "-c", PREPARED + script, str(database)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


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
one = trade(1)
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


def test_locks_of_pair_and_of_all_pairs_by_side_longest_first(tmp_path: Path) -> None:
    run(
        tmp_path / "trades.sqlite",
        """
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
