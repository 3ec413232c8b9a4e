"""Crypto.com: all markets in one answer.

https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html#public-get-tickers
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
    read(found, await session.api.v1PublicGetPublicGetTickers())


def read(found: Found, answer: Answer) -> None:
    """`oi`: contracts of one base coin, one side; `a`: the last price, a mark price is not told."""
    listed = by_name(rows(answer, "result", "data"), "i")
    for name, wanted in found.names("{}USD-PERP").items():
        if (row := listed.get(name)) is None:
            continue
        with found.reading(wanted.base):
            found.linear(
                wanted, name, time_ms(row, "t"), amount=amount(row, "oi"), price=number(row, "a")
            )


CRYPTOCOM = Venue("CRYPTOCOM", "cryptocom", 30, _ask)
