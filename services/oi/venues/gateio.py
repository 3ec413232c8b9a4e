"""Gate: perpetuals settled in USDT and in BTC.

https://www.gate.com/docs/developers/apiv4/en/#list-all-futures-contracts
"""

from __future__ import annotations

from typing import Any

from services.oi.venues.base import (
    Found,
    Session,
    Venue,
    VenueError,
    amount,
    by_name,
    now_ms,
    number,
)

SETTLED = {"usdt": "{}_USDT", "btc": "{}_USD"}


async def _ask(session: Session, found: Found) -> None:
    for settle, pattern in SETTLED.items():
        answer = await session.api.publicFuturesGetSettleContracts({"settle": settle})
        read(found, pattern, answer)


def read(found: Found, pattern: str, answer: Any) -> None:
    """`position_size`: contracts, one side; of `quanto_multiplier` coins, inverse of one dollar."""
    if not isinstance(answer, list):
        raise VenueError("the answer is no list")
    at, listed = now_ms(), by_name(answer, "name")
    for name, wanted in found.names(pattern).items():
        if (row := listed.get(name)) is None:
            continue
        with found.reading(wanted.base):
            contracts, price = amount(row, "position_size"), number(row, "mark_price")
            if row.get("type") == "inverse":
                found.inverse(
                    wanted, name, at, usd=contracts, price=price, raw=contracts, unit="contracts"
                )
            else:
                found.linear(
                    wanted, name, at, amount=contracts * number(row, "quanto_multiplier"),
                    price=price, raw=contracts, unit="contracts",
                )  # fmt: skip


GATEIO = Venue("GATEIO", "gate", 60, _ask)
