"""dYdX: linear perpetuals only, all in one answer.

https://docs.dydx.xyz/indexer-client/http#get-perpetual-markets
"""

from __future__ import annotations

from services.oi.venues.base import Answer, Found, Session, Venue, amount, now_ms, number, part


async def _ask(session: Session, found: Found) -> None:
    read(found, await session.api.indexerGetPerpetualMarkets())


def read(found: Found, answer: Answer) -> None:
    """`openInterest`: base coins, one side; priced by the oracle."""
    at, listed = now_ms(), part(answer, "markets")
    for name, wanted in found.names("{}-USD").items():
        if (row := listed.get(name)) is None or row.get("status") != "ACTIVE":
            continue
        with found.reading(wanted.base):
            found.linear(
                wanted, name, at, amount=amount(row, "openInterest"),
                price=number(row, "oraclePrice"),
            )  # fmt: skip


DYDX = Venue("DYDX", "dydx", 60, _ask)
