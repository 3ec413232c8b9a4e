"""One-minute candles that tell taker buys from taker sells, as venues serve them over REST.

Binance spot:
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
Binance USD-M:
https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Kline-Candlestick-Data
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
import msgspec

from aggr_server.gateway import through_gateway
from aggr_server.wire import Market

URLS: Mapping[str, str] = {
    "BINANCE": "https://api.binance.com/api/v3/klines",
    "BINANCE_FUTURES": "https://fapi.binance.com/fapi/v1/klines",
}
"""Exchange -> where its candles are. Both count volume in quote currency as well."""

PAGE = 1000
"""Candles of one answer: what both venues allow."""

TIMEOUT_S = 15.0
SPACING_S = 0.25
"""Between two requests: at 2 to 5 units of weight each, a fifth of the venues' budget."""

TOO_MANY_S = 60.0
BLOCKED_S = 600.0
MAX_PAUSE_S = 3600.0
_TOO_MANY = (418, 429)
_BLOCKED = (403, 451)


class KlinesUnavailable(Exception):
    """The venue gave no usable answer; it may be asked again after `retry_after_s` seconds."""

    def __init__(self, reason: str, retry_after_s: float) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Kline(NamedTuple):
    """A minute that starts at UTC second `t`. Volumes: taker buys and sells, quote USD."""

    t: int
    open: float
    high: float
    low: float
    close: float
    vbuy: float
    vsell: float
    trades: int


def serves(market: Market) -> bool:
    """Whether there are such candles of the market; coin-margined contracts have none."""
    return market.exchange in URLS and "_" not in market.market.partition(":")[2]


def parse(body: bytes) -> list[Kline]:
    """The candles of an answer. Field 7: quote volume, field 10: that of taker buys.

    Raises `ValueError` if it is none.
    """
    try:
        rows: list[list[Any]] = msgspec.json.decode(body, type=list[list[Any]])
        return [_kline(row) for row in rows]
    except (msgspec.MsgspecError, IndexError, TypeError) as error:
        raise ValueError(f"no candles: {error}") from error


def _kline(row: list[Any]) -> Kline:
    total, bought = float(row[7]), float(row[10])
    if not (0.0 < float(row[3]) <= float(row[2]) and 0.0 <= bought <= total * (1 + 1e-9)):
        raise ValueError(f"candle {row[0]} breaks 0 < low <= high, 0 <= bought <= volume")
    o, h, low, c = (float(text) for text in row[1:5])
    return Kline(int(row[0]) // 1000, o, h, low, c, bought, max(0.0, total - bought), int(row[8]))


class Klines:
    """The REST client. Close it with `close`. `gateway`: what stands in front of every exchange.

    After 418 or 429 a venue is left alone as long as it asks, after 403 or 451 for ten minutes.
    """

    def __init__(self, gateway: str = "") -> None:
        self._gateway = gateway
        self._session: aiohttp.ClientSession | None = None
        self._turn = asyncio.Lock()
        self._closed: dict[str, tuple[float, str]] = {}

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fetch(self, market: Market, from_s: int, to_s: int) -> list[Kline]:
        """Candles that start in [from_s, to_s), at most `PAGE` minutes, oldest first.

        Raises `KlinesUnavailable`.
        """
        symbol = market.market.partition(":")[2].upper()
        query = (
            f"symbol={symbol}&interval=1m&startTime={from_s * 1000}"
            f"&endTime={to_s * 1000 - 1}&limit={PAGE}"
        )
        async with self._turn:
            self._check_open(market.exchange)
            body = await self._ask(market.exchange, f"{URLS[market.exchange]}?{query}")
            await asyncio.sleep(SPACING_S)
        try:
            found = parse(body)
        except ValueError as error:
            raise KlinesUnavailable(f"{market.market}: {error}", BLOCKED_S) from error
        return [kline for kline in found if from_s <= kline.t < to_s]

    async def _ask(self, exchange: str, url: str) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            )
        try:
            async with self._session.get(through_gateway(url, self._gateway)) as response:
                if response.status == 200:
                    return await response.read()
                text = " ".join((await response.text())[:200].split())
                raise self._refusal(exchange, response.status, response.headers, text)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise KlinesUnavailable(f"{exchange}: {reason}", TOO_MANY_S / 4) from error

    def _refusal(
        self, exchange: str, status: int, headers: Mapping[str, str], text: str
    ) -> KlinesUnavailable:
        pause_s, meaning = TOO_MANY_S / 4, text
        if status in _TOO_MANY:
            pause_s = _asked_pause_s(headers) or TOO_MANY_S
            meaning = "too many requests from this address"
        elif status in _BLOCKED:
            pause_s, meaning = BLOCKED_S, "it does not serve this address or location"
        elif 400 <= status < 500:
            pause_s = BLOCKED_S
        reason = f"{exchange} answered {status}: {meaning}"
        if status in (*_TOO_MANY, *_BLOCKED):
            self._closed[exchange] = (time.monotonic() + pause_s, reason)
        return KlinesUnavailable(reason, pause_s)

    def _check_open(self, exchange: str) -> None:
        until, reason = self._closed.get(exchange, (0.0, ""))
        left_s = until - time.monotonic()
        if left_s > 0:
            raise KlinesUnavailable(reason, left_s)


def _asked_pause_s(headers: Mapping[str, str]) -> float:
    try:
        return min(MAX_PAUSE_S, max(0.0, float(headers.get("Retry-After", ""))))
    except ValueError:
        return 0.0
