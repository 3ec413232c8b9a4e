"""freqtrade's own database: which signals became trades, and which fills are still to be told.

A trade carries a mark for each fill that was delivered, so what is missing can be told after any
outage or crash. A crash between delivery and mark tells a fill twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from freqtrade.persistence import PairLocks, Trade

from services.core.records import Fill
from squeezeflow import fills
from squeezeflow.rules import TAG_PREFIX, entry_tag

STOP_KEY = "sf_stop"
OPENED_KEY = "sf_opened"
CLOSED_KEY = "sf_closed"
CARRIED_KEY = "sf_carried"


def has_trade(signal_id: str) -> bool:
    """Whether a signal has become a trade, open or closed."""
    return trade_of(signal_id) is not None


def trade_of(signal_id: str) -> Any | None:
    """The trade of a signal."""
    return Trade.get_trades([Trade.enter_tag == entry_tag(signal_id)]).first()


def open_trades() -> list[Any]:
    """Open trades."""
    return list(Trade.get_open_trades())


def open_tags() -> dict[str, str | None]:
    """Pair -> entry tag of every open trade."""
    return {trade.pair: trade.enter_tag for trade in Trade.get_open_trades()}


def undelivered() -> Iterator[tuple[Any, str, Fill]]:
    """Trade, mark and fill of everything not told yet, entries before exits."""
    ours = Trade.enter_tag.like(f"{TAG_PREFIX}%")
    for trade in Trade.get_trades([ours, ~Trade.custom_data.any(cd_key=OPENED_KEY)]).all():
        if trade.amount > 0:
            yield trade, OPENED_KEY, fills.opened(trade, _symbol(trade))
    ended = [ours, Trade.is_open.is_(False), ~Trade.custom_data.any(cd_key=CLOSED_KEY)]
    for trade in Trade.get_trades(ended).all():
        if trade.amount > 0 and trade.close_date is not None:
            yield trade, CLOSED_KEY, fills.closed(trade, _symbol(trade))


def _symbol(trade: Any) -> str:
    return f"{trade.safe_base_currency}{trade.safe_quote_currency}".upper()


def mark(trade: Any, key: str, entry_id: str) -> None:
    """Remember that a fill was delivered as this entry of the stream."""
    trade.set_custom_data(key, entry_id)


def keep_stop(trade: Any, stop_price: float | None) -> None:
    """Keep the signal's stop with its trade; None: the signal had none."""
    trade.set_custom_data(STOP_KEY, float(stop_price or 0.0))


def kept_stop(trade: Any) -> float | None:
    """The stop price of a trade, 0.0 if its signal had none, None if nothing is known."""
    value = trade.get_custom_data(STOP_KEY)
    return None if value is None else float(value)


def lock_reasons(pair: str, side: str) -> list[str | None]:
    """Reasons of the locks on entries of `pair` for `side`, longest first.

    `side`: `long`, `short`, or `*` for locks on both; pair `*`: only locks on all pairs.
    """
    locks = [*PairLocks.get_pair_locks(pair, side=side), *PairLocks.get_pair_locks("*", side=side)]
    locks.sort(key=lambda lock: lock.lock_end_time, reverse=True)
    return [lock.reason for lock in locks]


def open_ids() -> list[int]:
    """Ids of the open trades."""
    return [trade.id for trade in Trade.get_open_trades()]


def closed_since(ts_ms: int) -> dict[int, float]:
    """Trade id -> profit in the stake currency of what ended then or later."""
    return {trade.id: trade.close_profit_abs or 0.0 for trade in _closed_since(ts_ms)}


def carried(day: int) -> dict[int, float]:
    """Trade id -> profit with which a trade went into this UTC day (days since the epoch)."""
    found: dict[int, float] = {}
    for trade in [*Trade.get_open_trades(), *_closed_since(day * 86_400_000)]:
        kept = trade.get_custom_data(CARRIED_KEY)
        if isinstance(kept, dict) and kept.get("day") == day:
            found[trade.id] = float(kept["profit"])
    return found


def carry(day: int, profits: Mapping[int, float]) -> None:
    """Keep with the open trades what they had gained when this UTC day began."""
    for trade in Trade.get_open_trades():
        if trade.id in profits:
            trade.set_custom_data(CARRIED_KEY, {"day": day, "profit": profits[trade.id]})


def _closed_since(ts_ms: int) -> list[Any]:
    since = datetime.fromtimestamp(ts_ms / 1000, UTC).replace(tzinfo=None)
    return list(Trade.get_trades([Trade.is_open.is_(False), Trade.close_date >= since]).all())
