"""Kraken's futures: all in one answer.

https://docs.kraken.com/api/docs/futures-api/trading/get-tickers
"""

from __future__ import annotations

from services.oi.venues.base import (
    Answer,
    Found,
    Session,
    Venue,
    amount,
    iso_ms,
    number,
    rows,
)


async def _ask(session: Session, found: Found) -> None:
    read(found, await session.api.publicGetTickers())


def read(found: Found, answer: Answer) -> None:
    """`openInterest`: PF_ base coins, PI_ contracts of one dollar; one side. Bitcoin is XBT."""
    at = iso_ms(answer, "serverTime")
    listed = {str(row.get("symbol")).upper(): row for row in rows(answer, "tickers")}
    for name, wanted in found.names("PF_{}USD", "PI_{}USD").items():
        symbol = name.replace("_BTC", "_XBT") if wanted.base == "BTC" else name
        if (row := listed.get(symbol)) is None:
            continue
        with found.reading(wanted.base):
            raw, price = amount(row, "openInterest"), number(row, "markPrice")
            if symbol.startswith("PF_"):
                found.linear(wanted, symbol, at, amount=raw, price=price)
            else:
                found.inverse(wanted, symbol, at, usd=raw, price=price)


KRAKEN = Venue("KRAKEN", "krakenfutures", 30, _ask)
