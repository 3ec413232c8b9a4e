"""Bitfinex: all perpetuals in one answer, rows without names.

https://docs.bitfinex.com/reference/rest-public-derivatives-status
"""

from __future__ import annotations

from typing import Any

from services.oi.venues.base import Found, Session, Venue, VenueError, amount, number, time_ms

TIME, MARK_PRICE, OPEN_INTEREST = 1, 15, 18


async def _ask(session: Session, found: Found) -> None:
    read(found, await session.api.publicGetStatusDeriv({"keys": "ALL"}))


def read(found: Found, answer: Any) -> None:
    """Contracts of one base coin each, one side."""
    if not isinstance(answer, list):
        raise VenueError("the answer is no list")
    listed = {row[0]: row for row in answer if isinstance(row, list) and row}
    for name, wanted in found.names("t{}F0:USTF0").items():
        if (row := listed.get(name)) is None:
            continue
        with found.reading(wanted.base):
            found.linear(
                wanted, name, time_ms(row, TIME), amount=amount(row, OPEN_INTEREST),
                price=number(row, MARK_PRICE), unit="contracts",
            )  # fmt: skip


BITFINEX = Venue("BITFINEX", "bitfinex", 60, _ask)
