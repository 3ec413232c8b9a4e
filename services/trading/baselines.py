"""CVD at entry, kept per trade so that a position can be adopted after a restart."""

from __future__ import annotations

from typing import Literal

import msgspec

from services.core import names
from services.core.records import Fill
from services.influx_signal_manager import iso
from services.trading.ports import Outgoing
from services.trading.signals import reset_extreme
from services.trading.symbol import SymbolTrader

TRADE_TTL_S = 7 * names.DAY_S


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """CVD at the fill second, quote USD; `cvd_divergence` is spot minus futures.

    `entry_price`: quote per base as filled. `reset_extreme`, `invalidation_price`: spliced.
    `best_spot`: largest favourable change of spot CVD so far.
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
    spot, perp = trader.cvd_at(fill.ts_ms // 1000)
    baseline = Baseline(
        trade_id=fill.trade_id,
        signal_id=holding.signal_id,
        symbol=trader.names.symbol,
        base_symbol=trader.names.base,
        side=fill.side,
        entry_time=iso(fill.ts_ms),
        entry_ts_ms=fill.ts_ms,
        entry_price=fill.price,
        spot_cvd=spot,
        futures_cvd=perp,
        cvd_divergence=spot - perp,
        epoch_id=trader.engine.epoch,
        reset_extreme=reset_extreme(holding),
        invalidation_price=holding.invalidation_price,
        r5=holding.r5,
        env=holding.env,
        score=holding.score,
    )
    symbol, trade = trader.names.symbol, fill.trade_id
    data = msgspec.json.encode(baseline)
    outbox.put(names.trade_baseline(trade), data, TRADE_TTL_S, symbol=symbol)
    outbox.member(names.symbol_baselines(symbol), str(trade), TRADE_TTL_S, symbol=symbol)
    outbox.put(names.pending_baseline(holding.signal_id), None, symbol=symbol)


def remove(outbox: Outgoing, symbol: str, trade_id: int) -> None:
    """The trade has ended."""
    outbox.put(names.trade_baseline(trade_id), None, symbol=symbol)
    outbox.member(names.symbol_baselines(symbol), str(trade_id), 0, symbol=symbol)
