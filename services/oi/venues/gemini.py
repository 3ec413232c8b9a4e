"""Gemini: perpetuals against its own dollar coin, one request each.

https://docs.gemini.com/rest/derivatives#get-risk-stats
"""

from __future__ import annotations

from services.oi.venues.base import (
    Answer,
    Found,
    Session,
    Venue,
    VenueError,
    Wanted,
    amount,
    now_ms,
    number,
)


async def _ask(session: Session, found: Found) -> None:
    listed = await session.kept("symbols", session.api.publicGetV1Symbols)
    if not isinstance(listed, list):
        raise VenueError("the list of symbols is no list")
    for base in found.bases:
        name = f"{base.lower()}gusdperp"
        if name in listed:
            with found.reading(base):
                answer = await session.api.publicGetV1RiskstatsSymbol({"symbol": name})
                read(found, name, Wanted(base, 1), answer)


def read(found: Found, name: str, wanted: Wanted, answer: Answer) -> None:
    """`open_interest`: base coins, one side; `open_interest_notional`: the same in dollars."""
    found.linear(
        wanted, name, now_ms(), amount=amount(answer, "open_interest"),
        price=number(answer, "mark_price"),
    )  # fmt: skip


GEMINI = Venue("GEMINI", "gemini", 60, _ask)
