"""Binance: USD-M and COIN-M futures under one name, and Aster, whose API is a copy of USD-M.

https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Open-Interest
https://developers.binance.com/docs/derivatives/coin-margined-futures/market-data/rest-api/Open-Interest
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from services.oi.venues.base import (
    Answer,
    Found,
    Session,
    Venue,
    Wanted,
    amount,
    by_name,
    number,
    part,
    rows,
    time_ms,
)


async def _binance(session: Session, found: Found) -> None:
    api = session.api
    await _usd_margined(found, api.fapiPublicGetPremiumIndex, api.fapiPublicGetOpenInterest)
    info = await session.kept("dapi", api.dapiPublicGetExchangeInfo)
    wanted = found.names("{}USD_PERP")
    listed = {name: row for name, row in by_name(rows(info, "symbols"), "symbol").items()
              if name in wanted}  # fmt: skip
    if not listed:
        return
    marks = by_name(rows(await api.dapiPublicGetPremiumIndex()), "symbol")
    for name, row in listed.items():
        with found.reading(wanted[name].base):
            answer = await api.dapiPublicGetOpenInterest({"symbol": name})
            _coin_margined(found, wanted[name], answer, part(marks, name), row)


def _coin_margined(found: Found, wanted: Wanted, answer: Answer, mark: Answer, row: Answer) -> None:
    """`openInterest`: contracts of `contractSize` dollars each, one side."""
    contracts = amount(answer, "openInterest")
    found.inverse(
        wanted, str(row["symbol"]), time_ms(answer, "time"),
        usd=contracts * number(row, "contractSize"), price=number(mark, "markPrice"),
        raw=contracts, unit="contracts",
    )  # fmt: skip


async def _usd_margined(
    found: Found,
    ask_marks: Callable[[], Awaitable[Any]],
    ask: Callable[[dict[str, str]], Awaitable[Any]],
) -> None:
    """`openInterest`: base coins, one side."""
    marks = by_name(rows(await ask_marks()), "symbol")
    for name, wanted in found.names("{}USDT", "{}USDC").items():
        if name not in marks:
            continue
        with found.reading(wanted.base):
            answer = await ask({"symbol": name})
            found.linear(
                wanted, name, time_ms(answer, "time"), amount=amount(answer, "openInterest"),
                price=number(marks[name], "markPrice"),
            )  # fmt: skip


async def _aster(session: Session, found: Found) -> None:
    async def ask(request: dict[str, str]) -> Any:
        # Not among the endpoints that the library names.
        return await session.api.request("v1/openInterest", ["fapiPublic"], "GET", request)

    await _usd_margined(found, session.api.fapiPublicGetV1PremiumIndex, ask)


BINANCE_FUTURES = Venue("BINANCE_FUTURES", "binanceusdm", 15, _binance)
ASTER = Venue("ASTER", "aster", 60, _aster, certain=False)
