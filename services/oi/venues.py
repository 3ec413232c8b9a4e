"""Open interest as each venue publishes it, brought to base coins, one-sided.

One entry per venue: how it is asked through ccxt, and how its answer is read. ccxt's unified call
is not used: it needs every instrument loaded first, and it passes on what the venues count in
different ways (both sides, hourly samples).
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import ccxt.async_support as ccxt

from services.core.gateway import through_all
from services.core.records import OpenInterest
from services.market.symbols import symbol_of

TIMEOUT_MS = 10_000
MAX_FUTURE_MS = 60_000

Answer = Mapping[str, Any]
Unit = Literal["base", "contracts", "usd"]


class VenueError(Exception):
    """The venue did not answer, or answered something that cannot be used."""


@dataclass(frozen=True, slots=True)
class Venue:
    """`ccxt_id`: the library's name. `fetch` answers None if the venue has no such perpetual."""

    name: str
    ccxt_id: str
    fetch: Callable[[Any, str], Awaitable[OpenInterest | None]]


async def _binance_futures(exchange: Any, base: str) -> OpenInterest | None:
    symbol = {"symbol": symbol_of(base)}
    answer = await exchange.fapiPublicGetOpenInterest(symbol)
    premium = await exchange.fapiPublicGetPremiumIndex(symbol)
    return read_binance_futures(base, answer, premium)


def read_binance_futures(base: str, answer: Answer, premium: Answer) -> OpenInterest:
    """`openInterest`: base coins, one side; priced at the mark price."""
    coins = number(answer, "openInterest")
    return _record(
        "BINANCE_FUTURES", base, _time_ms(answer, "time"), coins,
        price=number(premium, "markPrice"), raw=coins, unit="base",
    )  # fmt: skip


async def _bybit(exchange: Any, base: str) -> OpenInterest | None:
    request = {"category": "linear", "symbol": symbol_of(base)}
    return read_bybit(base, await exchange.publicGetV5MarketTickers(request))


def read_bybit(base: str, answer: Answer) -> OpenInterest | None:
    """`openInterest` counts both sides in base coins; `singleOpenInterest`, where given, one."""
    rows = _rows(answer.get("result", {}), "list")
    if not rows:
        return None
    row = rows[0]
    raw = number(row, "openInterest")
    one_sided = number(row, "singleOpenInterest") if row.get("singleOpenInterest") else raw / 2
    return _record(
        "BYBIT", base, _time_ms(answer, "time"), one_sided,
        price=number(row, "markPrice"), raw=raw, unit="base",
    )  # fmt: skip


async def _okx(exchange: Any, base: str) -> OpenInterest | None:
    request = {"instType": "SWAP", "instId": f"{base}-USDT-SWAP"}
    return read_okx(base, await exchange.publicGetPublicOpenInterest(request))


def read_okx(base: str, answer: Answer) -> OpenInterest | None:
    """`oi`: contracts; `oiCcy`: base coins; `oiUsd`: dollars; one side."""
    rows = _rows(answer, "data")
    if not rows:
        return None
    coins = number(rows[0], "oiCcy")
    return _record(
        "OKX", base, _time_ms(rows[0], "ts"), coins,
        price=number(rows[0], "oiUsd") / coins, raw=number(rows[0], "oi"), unit="contracts",
    )  # fmt: skip


VENUES: Mapping[str, Venue] = {
    venue.name: venue
    for venue in (
        Venue("BINANCE_FUTURES", "binanceusdm", _binance_futures),
        Venue("BYBIT", "bybit", _bybit),
        Venue("OKX", "okx", _okx),
    )
}


class VenueClient:
    """One venue's connection. Close it with `close`."""

    def __init__(self, venue: Venue, gateway: str) -> None:
        self.name = venue.name
        self._venue = venue
        self._exchange = getattr(ccxt, venue.ccxt_id)(
            {"timeout": TIMEOUT_MS, "enableRateLimit": True}
        )
        self._exchange.urls["api"] = through_all(
            _with_hostname(self._exchange.urls["api"], self._exchange.hostname or ""), gateway
        )

    async def fetch(self, base: str) -> OpenInterest | None:
        """The venue's open interest in `base` now; None if it has no perpetual of it.

        Raises `VenueError`.
        """
        try:
            return await self._venue.fetch(self._exchange, base)
        except ccxt.BadSymbol:
            return None
        except ccxt.BaseError as error:
            text = " ".join(str(error).split())[:200]
            raise VenueError(f"{type(error).__name__}: {text}") from error

    def api_urls(self) -> list[str]:
        """Every base URL the library may ask."""
        return _texts(self._exchange.urls["api"])

    async def close(self) -> None:
        """Close the connections."""
        await self._exchange.close()


def number(row: Answer, key: str) -> float:
    """A positive number of an answer. Raises `VenueError`: nothing is ever assumed instead."""
    try:
        value = float(row[key])
    except (KeyError, TypeError, ValueError) as error:
        raise VenueError(f"{key} is missing or no number: {row.get(key)!r}") from error
    if not math.isfinite(value) or value <= 0:
        raise VenueError(f"{key} is {value}")
    return value


def _time_ms(row: Answer, key: str) -> int:
    time_ms = int(number(row, key))
    now_ms = time.time_ns() // 1_000_000
    if time_ms > now_ms + MAX_FUTURE_MS:
        raise VenueError(f"{key} lies {(time_ms - now_ms) // 1000} s in the future")
    return time_ms


def _rows(answer: Any, key: str) -> list[Answer]:
    rows = answer.get(key) if isinstance(answer, Mapping) else None
    if not isinstance(rows, list):
        raise VenueError(f"{key} is missing in the answer")
    return rows


def _record(
    exchange: str, base: str, ts_ms: int, coins: float, *, price: float, raw: float, unit: Unit
) -> OpenInterest:
    return OpenInterest(
        exchange=exchange, base=base, ts_ms=ts_ms, coins=coins, usd=coins * price, price=price,
        raw=raw, unit=unit,
    )  # fmt: skip


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def _with_hostname(value: Any, hostname: str) -> Any:
    if isinstance(value, dict):
        return {key: _with_hostname(item, hostname) for key, item in value.items()}
    return value.replace("{hostname}", hostname) if isinstance(value, str) else value
