"""A gateway that answers as venues do when asked for open interest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.waiting import within

eventually = within(60.0)

Body = Any


class Gateway:
    """BTC: 100 coins at BINANCE_FUTURES, 200 at BYBIT, 300 at OKX, 40 at DERIBIT; ETH tenfold.

    Of Bybit's, 20 coins are in the inverse contract. A coin is worth 50 000 dollars, ETH a tenth.
    `failing`: hosts that answer 503; `hanging`: hosts that do not answer until `released`.
    `factor`: by host, what their open interest is multiplied with.
    """

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.hanging: set[str] = set()
        self.factor: dict[str, float] = {}
        self.requests: list[str] = []
        self.released = asyncio.Event()
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """One REST answer."""
        host, _, path = request.path.lstrip("/").partition("/")
        self.requests.append(f"{host}/{path}")
        if host in self.hanging:
            await self.released.wait()
        if host in self.failing:
            return web.json_response({"msg": "maintenance"}, status=503)
        coins = 100.0 * self.factor.get(host, 1.0)
        return web.json_response(_body(path, request.query, coins))


@asynccontextmanager
async def serving() -> AsyncIterator[Gateway]:
    """A gateway at `url`."""
    gateway = Gateway()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", gateway.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    gateway.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield gateway
    finally:
        gateway.released.set()
        await runner.cleanup()


def _body(path: str, query: Mapping[str, str], coins: float) -> Body:
    now = time.time_ns() // 1_000_000
    wanted = query.get("symbol", "")
    if path == "fapi/v1/openInterest":
        scale = 10 if wanted.startswith("ETH") else 1
        return {"symbol": wanted, "openInterest": str(coins * scale), "time": now}
    if path == "fapi/v1/premiumIndex":
        return [
            {"symbol": "BTCUSDT", "markPrice": "50000", "time": now},
            {"symbol": "ETHUSDT", "markPrice": "5000", "time": now},
        ]
    if path == "dapi/v1/exchangeInfo":
        return {"symbols": []}
    if path == "v5/market/tickers":
        return {"retCode": 0, "result": {"list": _bybit(query["category"], coins)}, "time": now}
    if path == "api/v5/public/open-interest":
        return {"code": "0", "msg": "", "data": _okx(coins, now)}
    if path == "api/v2/public/get_book_summary_by_currency":
        return {"jsonrpc": "2.0", "result": _deribit(query["currency"], coins, now)}
    raise AssertionError(f"unexpected request: {path}")


def _bybit(category: str, coins: float) -> list[dict[str, str]]:
    if category == "inverse":
        inverse = {"symbol": "BTCUSD", "openInterest": str(0.4 * coins * 50_000)}
        return [{**inverse, "markPrice": "50000"}]
    return [
        {"symbol": "BTCUSDT", "openInterest": str(3.6 * coins), "markPrice": "50000"},
        {"symbol": "ETHUSDT", "openInterest": str(40 * coins), "markPrice": "5000"},
    ]


def _okx(coins: float, now: int) -> list[dict[str, str]]:
    return [
        {
            "instId": f"{base}-USDT-SWAP", "oi": str(300 * coins), "ts": str(now),
            "oiCcy": str(3 * coins * scale), "oiUsd": str(3 * coins * 50_000),
        }
        for base, scale in (("BTC", 1), ("ETH", 10))
    ]  # fmt: skip


def _deribit(currency: str, coins: float, now: int) -> list[dict[str, Any]]:
    if currency == "USDC":
        return []
    price = 50_000 if currency == "BTC" else 5_000
    return [
        {
            "instrument_name": f"{currency}-PERPETUAL", "open_interest": 0.4 * coins * 50_000,
            "mark_price": price, "creation_timestamp": now,
        }
    ]  # fmt: skip
