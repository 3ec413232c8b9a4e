"""CVD at entry, kept per trade so that a position can be adopted after a restart."""

from __future__ import annotations

from typing import Literal

import msgspec

from services.core import names
from services.core.records import Fill
from services.influx_signal_manager import iso
from services.trading.ports import Outgoing
from services.trading.signals import Holding, reset_extreme
from services.trading.symbol import SymbolTrader

TRADE_TTL_S = 7 * names.DAY_S


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """CVD at the fill second, quote USD; `cvd_divergence` is spot minus futures.

    Prices: of the execution market, so that they mean the same after a restart. `entry_price`: as
    filled. `best_spot`: largest favourable change of spot CVD so far.
    """

    trade_id: int
    signal_id: str
    symbol: str
    base_symbol: str
    side: Literal["long", "short"]
    entry_time: str
    entry_ts_ms: int
    entry_price: float
    spot_cvd: float
    futures_cvd: float
    cvd_divergence: float
    epoch_id: str
    reset_extreme: float | None
    invalidation_price: float | None
    r5: float | None
    env: str
    score: float
    best_spot: float = 0.0


def write_pending(outbox: Outgoing, trader: SymbolTrader, signal_id: str) -> None:
    """CVD at the decision second of a signal whose trade is not known yet."""
    engine = trader.engine
    value = {"spot": engine.c_spot, "perp": engine.c_perp, "epoch_id": engine.epoch, "t": engine.t}
    symbol = trader.names.symbol
    outbox.put(names.pending_baseline(signal_id), msgspec.json.encode(value), symbol=symbol)


def write(outbox: Outgoing, trader: SymbolTrader, fill: Fill) -> None:
    """CVD at the fill's second."""
    holding = trader.holding
    if holding is None or fill.trade_id is None:
        return
    cvd = trader.cvd_at(fill.ts_ms // 1000)
    _put(outbox, trader, holding, fill.trade_id, fill.ts_ms, fill.price, cvd)
    outbox.put(names.pending_baseline(holding.signal_id), None, symbol=trader.names.symbol)


def renew(outbox: Outgoing, trader: SymbolTrader) -> None:
    """Write the baseline of the open position again: it lives on, and so does its best flow."""
    holding, position = trader.holding, trader.engine.position
    if holding is None or holding.trade_id is None or position is None or not position.based:
        return
    opened_ms = position.entry_t * 1000 if holding.opened_ms is None else holding.opened_ms
    price = trader.aggregator.reference.execution_price(holding.entry_price)
    cvd = (position.c_spot, position.c_perp)
    _put(outbox, trader, holding, holding.trade_id, opened_ms, price, cvd, position.best_spot)


def _put(
    outbox: Outgoing,
    trader: SymbolTrader,
    holding: Holding,
    trade: int,
    opened_ms: int,
    price: float,
    cvd: tuple[float, float],
    best_spot: float = 0.0,
) -> None:
    execution_price = trader.aggregator.reference.execution_price
    level = holding.invalidation_price
    extreme = reset_extreme(holding, trader.params)
    symbol = trader.names.symbol
    baseline = Baseline(
        trade_id=trade,
        signal_id=holding.signal_id,
        symbol=symbol,
        base_symbol=trader.names.base,
        side="long" if holding.direction > 0 else "short",
        entry_time=iso(opened_ms),
        entry_ts_ms=opened_ms,
        entry_price=price,
        spot_cvd=cvd[0],
        futures_cvd=cvd[1],
        cvd_divergence=cvd[0] - cvd[1],
        epoch_id=trader.engine.epoch,
        reset_extreme=None if extreme is None else execution_price(extreme),
        invalidation_price=None if level is None else execution_price(level),
        r5=holding.r5,
        env=holding.env,
        score=holding.score,
        best_spot=best_spot,
    )
    data = msgspec.json.encode(baseline)
    outbox.put(names.trade_baseline(trade), data, TRADE_TTL_S, symbol=symbol)
    outbox.member(names.symbol_baselines(symbol), str(trade), TRADE_TTL_S, symbol=symbol)


def remove(outbox: Outgoing, symbol: str, trade_id: int) -> None:
    """The trade has ended."""
    outbox.put(names.trade_baseline(trade_id), None, symbol=symbol)
    outbox.member(names.symbol_baselines(symbol), str(trade_id), 0, symbol=symbol)
