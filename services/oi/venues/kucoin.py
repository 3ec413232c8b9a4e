"""KuCoin: all contracts in one answer.

https://www.kucoin.com/docs-new/rest/futures-trading/market-data/get-all-symbols
"""

from __future__ import annotations

from services.oi.venues.base import (
    Answer,
    Found,
    Session,
    Venue,
    amount,
    now_ms,
    number,
    rows,
)

QUOTES = ("USDT", "USDC", "USD")


async def _ask(session: Session, found: Found) -> None:
    read(found, await session.api.futuresPublicGetContractsActive())


def read(found: Found, answer: Answer) -> None:
    """`openInterest`: contracts, one side; linear of `multiplier` coins, inverse of one dollar.

    Bitcoin is XBT here. Perpetuals have no `expireDate`.
    """
    at, coins = now_ms(), found.names("{}")
    for row in rows(answer, "data"):
        coin = str(row.get("baseCurrency"))
        wanted = coins.get("BTC" if coin == "XBT" else coin)
        perpetual = row.get("expireDate") is None and row.get("quoteCurrency") in QUOTES
        if wanted is None or not perpetual:
            continue
        with found.reading(wanted.base):
            contracts, price = amount(row, "openInterest"), number(row, "markPrice")
            name = str(row.get("symbol"))
            if row.get("isInverse"):
                found.inverse(
                    wanted, name, at, usd=contracts, price=price, raw=contracts, unit="contracts"
                )
            else:
                found.linear(
                    wanted, name, at, amount=contracts * number(row, "multiplier"), price=price,
                    raw=contracts, unit="contracts",
                )  # fmt: skip


KUCOIN = Venue("KUCOIN", "kucoin", 60, _ask)
