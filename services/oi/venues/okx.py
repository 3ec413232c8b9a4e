"""OKX: all swaps in one answer.

https://www.okx.com/docs-v5/en/#public-data-rest-api-get-open-interest
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
    read(found, await session.api.publicGetPublicOpenInterest({"instType": "SWAP"}))


def read(found: Found, answer: Answer) -> None:
    """`oi`: contracts; `oiCcy`: base coins, also of inverse swaps; `oiUsd`: dollars; one side."""
    listed = by_name(rows(answer, "data"), "instId")
    wanted_names = found.names("{}-USDT-SWAP", "{}-USDC-SWAP", "{}-USD-SWAP")
    for name, wanted in wanted_names.items():
        if (row := listed.get(name)) is None:
            continue
        with found.reading(wanted.base):
            raw, coins = amount(row, "oi"), amount(row, "oiCcy")
            if coins == 0:
                continue
            usd, at = number(row, "oiUsd"), time_ms(row, "ts")
            if name.endswith("-USD-SWAP"):
                found.inverse(
                    wanted, name, at, usd=usd, price=usd / coins, raw=raw, unit="contracts"
                )
            else:
                found.linear(
                    wanted, name, at, amount=coins, price=usd / coins, raw=raw, unit="contracts"
                )


OKX = Venue("OKX", "okx", 5, _ask)
