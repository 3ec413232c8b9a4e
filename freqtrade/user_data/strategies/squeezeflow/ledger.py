"""freqtrade's own database: which signals became trades, and which fills are still to be told.

A trade carries a mark for each fill that was delivered, so what is missing can be told after any
outage or crash. A crash between delivery and mark tells a fill twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freqtrade.persistence import Trade

from services.core.records import Fill
from squeezeflow import fills
from squeezeflow.rules import TAG_PREFIX, entry_tag

STOP_KEY = "sf_stop"
OPENED_KEY = "sf_opened"
CLOSED_KEY = "sf_closed"


def has_trade(signal_id: str) -> bool:
    """Whether a signal has become a trade, open or closed."""
    return trade_of(signal_id) is not None


def trade_of(signal_id: str) -> Any | None:
    """The trade of a signal."""
    return Trade.get_trades([Trade.enter_tag == entry_tag(signal_id)]).first()


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
