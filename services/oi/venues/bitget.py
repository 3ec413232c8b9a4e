"""Bitget: perpetuals margined in USDT and in USDC.

Those margined in the coin are left out: which unit their figure has is not documented.
https://www.bitget.com/api-doc/contract/market/Get-All-Symbol-Ticker
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

PRODUCTS = {"USDT-FUTURES": "{}USDT", "USDC-FUTURES": "{}PERP"}


async def _ask(session: Session, found: Found) -> None:
    for product, pattern in PRODUCTS.items():
        request = {"productType": product}
        read(found, pattern, await session.api.publicMixGetV2MixMarketTickers(request))


def read(found: Found, pattern: str, answer: Answer) -> None:
    """`holdingAmount`: base coins, one side."""
    listed = by_name(rows(answer, "data"), "symbol")
    for name, wanted in found.names(pattern).items():
        if (row := listed.get(name)) is None:
            continue
        with found.reading(wanted.base):
            found.linear(
                wanted, name, time_ms(row, "ts"), amount=amount(row, "holdingAmount"),
                price=number(row, "markPrice"),
            )  # fmt: skip


BITGET = Venue("BITGET", "bitget", 15, _ask)
