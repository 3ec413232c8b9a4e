"""Deribit: inverse perpetuals of BTC and ETH, linear ones against USDC.

https://docs.deribit.com/api-reference/market-data/public-get_book_summary_by_currency
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

INVERSE = ("BTC", "ETH")


async def _ask(session: Session, found: Found) -> None:
    for currency in (*(base for base in found.bases if base in INVERSE), "USDC"):
        request = {"currency": currency, "kind": "future"}
        read(found, await session.api.publicGetGetBookSummaryByCurrency(request))


def read(found: Found, answer: Answer) -> None:
    """`open_interest`: dollars of inverse perpetuals, base coins of linear ones; one side."""
    listed = by_name(rows(answer, "result"), "instrument_name")
    for name, wanted in found.names("{}-PERPETUAL", "{}_USDC-PERPETUAL").items():
        if (row := listed.get(name)) is None:
            continue
        with found.reading(wanted.base):
            at, price = time_ms(row, "creation_timestamp"), number(row, "mark_price")
            raw = amount(row, "open_interest")
            if "_" in name:
                found.linear(wanted, name, at, amount=raw, price=price)
            else:
                found.inverse(wanted, name, at, usd=raw, price=price)


DERIBIT = Venue("DERIBIT", "deribit", 30, _ask)
