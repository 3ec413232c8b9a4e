"""freqtrade's own Python: what uses its database can be called nowhere else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.integration.freqtrade.bot import ROOT

PYTHON = ROOT / ".local" / "freqtrade" / "bin" / "python"
_FOLDERS = (ROOT, ROOT / "aggr-server", ROOT / "freqtrade" / "user_data" / "strategies")
_PREPARED = """
import logging
import sys
from datetime import UTC, datetime, timedelta
from freqtrade.persistence import PairLocks, Trade, init_db
from squeezeflow import ledger
from squeezeflow.daily import DAY_MS

logging.basicConfig(format="%(levelname)s %(message)s")
init_db(f"sqlite:///{sys.argv[1]}")
DAY = 20_000
MIDNIGHT = DAY * DAY_MS

def moment(ts_ms):
    return datetime.fromtimestamp(ts_ms / 1000, UTC)

def trade(number, closed_ms=None, profit=0.0, amount=1):
    made = Trade(
        pair="BTC/USDT:USDT", base_currency="BTC", stake_currency="USDT", exchange="binance",
        stake_amount=100, amount=amount, open_rate=100, fee_open=0, fee_close=0, leverage=3,
        is_open=closed_ms is None, open_date=moment(MIDNIGHT - 1), enter_tag=f"sf:{number}",
    )
    if closed_ms is not None:
        made.close_date, made.close_profit_abs = moment(closed_ms), profit
    Trade.session.add(made)
    Trade.commit()
    return made
"""


def run(database: Path, script: str, *arguments: str) -> str:
    """Run assertions; what was logged. `arguments`: `sys.argv` from 2 on.

    `trade` makes a trade in the new `database`, of the signal of that number.
    """
    paths = [*map(str, _FOLDERS), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [str(PYTHON), "-c", _PREPARED + script, str(database), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr
