"""Bybit: linear and inverse perpetuals.

https://bybit-exchange.github.io/docs/v5/market/tickers
"""

from __future__ import annotations

from services.oi.venues.base import (
    Answer,
    Found,
    Session,
    Venue,
    amount,
    by_name,
    number,
    rows,
    time_ms,
)


async def _ask(session: Session, found: Found) -> None:
    for category in ("linear", "inverse"):
        read(found, category, await session.api.publicGetV5MarketTickers({"category": category}))


def read(found: Found, category: str, answer: Answer) -> None:
    """`openInterest` counts both sides, `singleOpenInterest` one; coins, of inverse ones dollars.

    The field for one side is not in every answer.
    """
    listed = by_name(rows(answer, "result", "list"), "symbol")
    at = time_ms(answer, "time")
    patterns = ("{}USDT", "{}PERP") if category == "linear" else ("{}USD",)
    for name, wanted in found.names(*patterns).items():
        if (row := listed.get(name)) is None:
            continue
        with found.reading(wanted.base):
            raw, price = amount(row, "openInterest"), number(row, "markPrice")
            single = amount(row, "singleOpenInterest") if row.get("singleOpenInterest") else raw / 2
            if category == "linear":
                found.linear(wanted, name, at, amount=single, price=price, raw=raw)
            else:
                found.inverse(wanted, name, at, usd=single, price=price, raw=raw)


BYBIT = Venue("BYBIT", "bybit", 5, _ask)
