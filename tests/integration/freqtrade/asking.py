"""Asks the strategy what it answers when something fails; run by freqtrade's own Python.

`asking.py FOLDER SIGNAL`: a data folder and an entry signal. Prints question -> answer as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from freqtrade.persistence import Trade, init_db
from redis import Redis

from services.core import names
from services.core.records import Signal
from squeezeflow import ledger, rules
from SqueezeFlowExecutor import SqueezeFlowExecutor

PAIR = "BTC/USDT:USDT"
CONFIG = {"dry_run": True, "max_open_trades": 3, "stake_currency": "USDT"}


class Market:
    """What freqtrade knows of the exchange."""

    known = True

    def market(self, pair: str) -> dict[str, str]:
        if not self.known:
            raise KeyError(pair)
        return {"base": "BTC", "quote": "USDT"}

    def current_whitelist(self) -> list[str]:
        return [PAIR]


class Wallets:
    """The account."""

    known = True

    def get_total(self, currency: str) -> float:
        return 1000.0

    def get_total_stake_amount(self) -> float:
        if not self.known:
            raise RuntimeError("no answer of the exchange")
        return 1000.0


def confirm(strategy: Any, signal: Signal, tag: str | None) -> bool:
    return bool(
        strategy.confirm_trade_entry(
            PAIR, "market", 1.0, signal.entry_price, "GTC", None, tag, "long"
        )
    )


def stake(strategy: Any, tag: str | None) -> float:
    return float(strategy.custom_stake_amount(PAIR, None, 1.0, 50.0, 1.0, 500.0, 3.0, tag, "long"))


def refresh(signal: Signal) -> None:
    """Let it stand in Redis as one that holds now."""
    now_ms = time.time_ns() // 1_000_000
    fresh = msgspec.structs.replace(signal, refreshed_ms=now_ms, valid_until_ms=now_ms + 60_000)
    with Redis(port=int(os.environ["REDIS_PORT"])) as client:
        client.set(names.signal(signal.symbol), msgspec.json.encode(fresh))


def answers(folder: Path, signal: Signal) -> dict[str, Any]:
    strategy: Any = SqueezeFlowExecutor({**CONFIG, "user_data_dir": str(folder)})
    strategy.dp, strategy.wallets = market, wallets = Market(), Wallets()
    strategy.bot_start()
    strategy.bot_loop_start(None)
    tag, found = rules.entry_tag(signal.signal_id), {}
    refresh(signal)
    strategy.bot_loop_start(None)
    found["stake"] = stake(strategy, tag)
    found["stake without a signal"] = stake(strategy, None)
    found["leverage without a signal"] = strategy.leverage(PAIR, None, 1.0, 3.0, 20.0, None, "long")
    wallets.known = False
    found["stake without an account"] = stake(strategy, tag)
    found["entry without a signal"] = confirm(strategy, signal, None)
    found["entry on another signal"] = confirm(strategy, signal, rules.entry_tag("other"))
    market.known = False
    found["entry on an unknown market"] = confirm(strategy, signal, tag)
    market.known = True
    with Redis(port=int(os.environ["REDIS_PORT"])) as client:
        refresh(signal)
        client.set(names.EXECUTOR_LEASE, "another executor")
        found["entry for another executor"] = confirm(strategy, signal, tag)
        client.delete(names.EXECUTOR_LEASE)
    refresh(signal)
    strategy.bot_loop_start(None)
    found["entry"] = confirm(strategy, signal, tag)
    found["entry again"] = confirm(strategy, signal, tag)
    strategy._link.close()
    found["entry once the link is closed"] = confirm(strategy, signal, tag)
    return found


def stops(folder: Path) -> dict[str, Any]:
    """The stop of a trade that has no signal, as one entered by hand, and of one without a stop."""
    strategy: Any = SqueezeFlowExecutor({**CONFIG, "user_data_dir": str(folder)})
    strategy.dp, strategy.wallets = Market(), Wallets()
    strategy.bot_start()
    trade = Trade(
        pair=PAIR, exchange="binance", open_rate=100.0, stake_amount=10.0, amount=0.3,
        fee_open=0.0, fee_close=0.0, leverage=3.0, is_short=False, is_open=True,
        enter_tag="force_entry",
    )  # fmt: skip
    Trade.session.add(trade)
    Trade.commit()
    strategy.order_filled(PAIR, trade, SimpleNamespace(ft_order_side="buy"), None)
    found = {"stop by hand": strategy.custom_stoploss(PAIR, trade, None, 100.0, 0.0, True)}
    ledger.keep_stop(trade, None)
    found["no stop"] = strategy.custom_stoploss(PAIR, trade, None, 100.0, 0.0, True)
    strategy._link.close()
    return found


def broken_look(folder: Path, signal: Signal) -> bool:
    """Whether the signal is still read when looking at the state fails."""
    strategy: Any = SqueezeFlowExecutor({**CONFIG, "user_data_dir": str(folder)})
    strategy.dp, strategy.wallets = Market(), Wallets()
    strategy.bot_start()
    strategy._gate.look = lambda: 1 / 0
    strategy.bot_loop_start(None)
    strategy._link.close()
    return strategy._desk.entry_of(PAIR, rules.entry_tag(signal.signal_id)) is not None


def main(folder: Path, raw: str) -> None:
    init_db("sqlite://")
    signal = rules.decode(raw.encode())
    refresh(signal)
    found = {"signal read though the state is not": broken_look(folder, signal)}
    print(json.dumps({**found, **answers(folder, signal), **stops(folder)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
