"""freqtrade's trades and refused signals as entries of the fills stream."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol

from services.core.records import Fill, Signal
from squeezeflow.rules import side_of, signal_id_of

# freqtrade's names for an exit that the strategy did not ask for but its stop did.
STOP_EXITS = {"stop_loss", "trailing_stop_loss", "stoploss_on_exchange"}
CATASTROPHIC_STOP = "CATASTROPHIC_STOP"


class TradeView(Protocol):
    """The part of freqtrade's trade that a fill is made of. Rates: quote per base."""

    id: int
    pair: str
    enter_tag: str | None
    is_short: bool
    open_rate: float
    amount: float
    stake_amount: float
    leverage: float
    date_entry_fill_utc: datetime | None
    open_date_utc: datetime
    close_rate: float | None
    close_date_utc: datetime | None
    close_profit: float | None
    close_profit_abs: float | None
    exit_reason: str | None


def opened(trade: TradeView, symbol: str) -> Fill:
    """The entry of a trade."""
    return _fill(trade, symbol, "opened", _ms(trade.date_entry_fill_utc or trade.open_date_utc))


def closed(trade: TradeView, symbol: str) -> Fill:
    """The end of a trade. `reason`: freqtrade's exit reason, or `CATASTROPHIC_STOP`."""
    assert trade.close_date_utc is not None
    reason = trade.exit_reason or ""
    return _fill(
        trade,
        symbol,
        "closed",
        _ms(trade.close_date_utc),
        price=trade.close_rate or 0.0,
        reason=CATASTROPHIC_STOP if reason in STOP_EXITS else reason,
        pnl=trade.close_profit_abs or 0.0,
        pnl_ratio=trade.close_profit or 0.0,
    )


def rejected(signal: Signal, reason: str, now_ms: int) -> Fill:
    """A signal that will not be executed."""
    return Fill(
        event="rejected",
        signal_id=signal.signal_id,
        symbol=signal.symbol,
        pair=signal.pair,
        side="long" if side_of(signal) == "long" else "short",
        ts_ms=now_ms,
        price=signal.entry_price,
        leverage=float(signal.leverage),
        reason=reason,
    )


def _fill(
    trade: TradeView,
    symbol: str,
    event: Literal["opened", "closed"],
    ts_ms: int,
    *,
    price: float | None = None,
    reason: str = "",
    pnl: float = 0.0,
    pnl_ratio: float = 0.0,
) -> Fill:
    return Fill(
        event=event,
        signal_id=signal_id_of(trade.enter_tag) or "",
        symbol=symbol,
        pair=trade.pair,
        side="short" if trade.is_short else "long",
        ts_ms=ts_ms,
        trade_id=trade.id,
        price=trade.open_rate if price is None else price,
        amount=trade.amount,
        stake=trade.stake_amount,
        leverage=trade.leverage,
        reason=reason,
        pnl=pnl,
        pnl_ratio=pnl_ratio,
    )


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
