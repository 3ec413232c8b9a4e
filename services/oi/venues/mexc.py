"""MEXC: all contracts in one answer, their sizes in another.

https://www.mexc.com/api-docs/futures/market-endpoints
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
    time_ms,
)


async def _ask(session: Session, found: Found) -> None:
    answer = await session.api.contractPublicGetTicker()
    details = await session.kept("details", session.api.contractPublicGetDetail)
    read(found, answer, by_name(rows(details, "data"), "symbol"))


def read(found: Found, answer: Answer, details: Answer) -> None:
    """`holdVol`: contracts, one side; of `contractSize` coins, of inverse ones dollars."""
    listed = by_name(rows(answer, "data"), "symbol")
    for name, wanted in found.names("{}_USDT", "{}_USDC", "{}_USD").items():
        if (row := listed.get(name)) is None:
            continue
        with found.reading(wanted.base):
            contracts, price = amount(row, "holdVol"), number(row, "fairPrice")
            detail, at = part(details, name), time_ms(row, "timestamp")
            size = contracts * number(detail, "contractSize")
            if part(detail, "settleCoin") == part(detail, "quoteCoin"):
                found.linear(
                    wanted, name, at, amount=size, price=price, raw=contracts, unit="contracts"
                )
            else:
                found.inverse(
                    wanted, name, at, usd=size, price=price, raw=contracts, unit="contracts"
                )


MEXC = Venue("MEXC", "mexc", 60, _ask)
