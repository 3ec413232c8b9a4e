"""Phemex: perpetuals of the second kind, in plain decimals, and of the first, in scaled numbers.

https://phemex-docs.github.io/#query-24-hours-ticker
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
    part,
    rows,
)


async def _ask(session: Session, found: Found) -> None:
    api = session.api
    read_linear(found, await api.v2GetMdV2Ticker24hrAll())
    products = await session.kept("products", api.v2GetPublicProducts)
    listed = by_name(rows(products, "data", "products"), "symbol")
    if found.names("{}USD").keys() & listed.keys():
        read_inverse(found, await api.v1GetMdTicker24hrAll(), listed)


def read_linear(found: Found, answer: Answer) -> None:
    """`openInterestRv`: base coins, one side; `timestamp`: nanoseconds."""
    listed = by_name(rows(answer, "result"), "symbol")
    for name, wanted in found.names("{}USDT", "{}USDC").items():
        if (row := listed.get(name)) is None:
            continue
        with found.reading(wanted.base):
            found.linear(
                wanted, name, int(number(row, "timestamp")) // 1_000_000,
                amount=amount(row, "openInterestRv"), price=number(row, "markPriceRp"),
            )  # fmt: skip


def read_inverse(found: Found, answer: Answer, products: Answer) -> None:
    """`openInterest`: contracts, of inverse ones `contractSize` dollars each.

    Contracts of the first kind that settle in dollars are old linear ones with a size in coins.
    """
    listed = by_name(rows(answer, "result"), "symbol")
    for name, wanted in found.names("{}USD").items():
        row, product = listed.get(name), products.get(name)
        if row is None or product is None or product.get("type") != "Perpetual":
            continue
        with found.reading(wanted.base):
            at = int(number(row, "timestamp")) // 1_000_000
            contracts = amount(row, "openInterest")
            price = number(row, "markEp") / 10 ** int(number(product, "priceScale"))
            size = contracts * _size(product)
            if part(product, "settleCurrency") == "USD":
                found.linear(
                    wanted, name, at, amount=size, price=price, raw=contracts, unit="contracts"
                )
            else:
                found.inverse(
                    wanted, name, at, usd=size, price=price, raw=contracts, unit="contracts"
                )


def _size(product: Answer) -> float:
    """`contractSize`: 1.0, or `1 USD` or `0.005 ETH`."""
    words = str(part(product, "contractSize")).split()
    return number({"contractSize": words[0] if words else ""}, "contractSize")


PHEMEX = Venue("PHEMEX", "phemex", 30, _ask)
