"""Hyperliquid: all perpetuals in one answer, the names apart from the figures.

https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint/perpetuals
"""

from __future__ import annotations

from typing import Any

from services.oi.venues.base import (
    Found,
    Session,
    Venue,
    VenueError,
    amount,
    now_ms,
    number,
    rows,
)


async def _ask(session: Session, found: Found) -> None:
    read(found, await session.api.publicPostInfo({"type": "metaAndAssetCtxs"}))


def read(found: Found, answer: Any) -> None:
    """`openInterest`: base coins, one side; of kPEPE and the like thousands."""
    if not isinstance(answer, list) or len(answer) != 2 or not isinstance(answer[1], list):
        raise VenueError("the answer is not [meta, contexts]")
    universe = rows(answer[0], "universe")
    if len(universe) != len(answer[1]):
        raise VenueError(f"{len(universe)} names for {len(answer[1])} contexts")
    at, names = now_ms(), found.names("{}")
    for meta, context in zip(universe, answer[1], strict=True):
        wanted = names.get(str(meta.get("name")))
        if wanted is None or meta.get("isDelisted"):
            continue
        with found.reading(wanted.base):
            found.linear(
                wanted, str(meta["name"]), at, amount=amount(context, "openInterest"),
                price=number(context, "markPx"),
            )  # fmt: skip


HYPERLIQUID = Venue("HYPERLIQUID", "hyperliquid", 30, _ask)
