"""The part of a futures exchange that freqtrade asks in dry-run, with a price a test can move."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

PREFIX = "/fapi.binance.com/fapi/v1/"
TICK = 0.1
CANDLE_MS = 60_000
PRICES = {"BTCUSDT": 100_000.0, "ETHUSDT": 4_000.0}
FILL_LEVELS = "20"
"""Levels of the book that freqtrade asks for when it simulates an order, and only then."""


class Instrument(NamedTuple):
    """Smallest steps of price and amount, decimals of the price, smallest order in USDT."""

    tick: float = TICK
    decimals: int = 1
    step: str = "0.001"
    notional: str = "20"


INSTRUMENTS = {"BTCUSDT": Instrument(notional="100")}


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # who asked may have been killed
            super().handle_error(request, client_address)


class Exchange:
    """Serves BTCUSDT and ETHUSDT, or others, on a free port of 127.0.0.1. Prices in USDT.

    `before` is called with endpoint and query in the thread of each request, before its answer.
    """

    def __init__(
        self,
        prices: Mapping[str, float] = PRICES,
        instruments: Mapping[str, Instrument] = INSTRUMENTS,
    ) -> None:
        self.prices = dict(prices)
        self.depth_requests = 0
        self.before: Callable[[str, dict[str, str]], None] = lambda endpoint, query: None
        self._instruments = {s: instruments.get(s, Instrument()) for s in prices}
        exchange = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                exchange._answer(self)

            do_POST = do_DELETE = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """What stands before the path of each request."""
        return f"http://127.0.0.1:{self._server.server_port}{PREFIX.rstrip('/')}"

    def __enter__(self) -> Self:
        """Serve in a thread, for as long as the block lasts."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        address = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        answers: dict[str, Callable[[dict[str, str]], Any]] = {
            "exchangeInfo": self._info,
            "time": lambda _: {"serverTime": _now_ms()},
            "klines": self._candles,
            "markPriceKlines": lambda _: [],
            "fundingRate": lambda _: [],
            "depth": self._book,
            "ticker/24hr": self._tickers,
            "ticker/bookTicker": self._tickers,
        }
        endpoint = address.path.removeprefix(PREFIX)
        self.before(endpoint, query)
        answer = answers.get(endpoint)
        body = json.dumps(answer(query) if answer else {"code": -1, "msg": "unknown"}).encode()
        with contextlib.suppress(ConnectionError):  # who asked may have been killed meanwhile
            request.send_response(200 if answer else 404)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)

    def _info(self, query: dict[str, str]) -> Any:
        return {"symbols": [_listed(s, i) for s, i in self._instruments.items()]}

    def _candles(self, query: dict[str, str]) -> Any:
        symbol, now = query["symbol"], _now_ms()
        price = self._text(symbol, self.prices[symbol])
        newest = now - now % CANDLE_MS
        starts = range(newest - 50 * CANDLE_MS, newest + 1, CANDLE_MS)
        return [[start, *[price] * 4, "1.0"] for start in starts]

    def _book(self, query: dict[str, str]) -> Any:
        self.depth_requests += 1
        symbol = query["symbol"]
        price, tick = self.prices[symbol], self._instruments[symbol].tick
        levels = range(int(query.get("limit", "5")))
        return {
            "bids": [[self._text(symbol, price - tick * i), "50"] for i in levels],
            "asks": [[self._text(symbol, price + tick * (i + 1)), "50"] for i in levels],
        }

    def _tickers(self, query: dict[str, str]) -> Any:
        texts = {symbol: self._text(symbol, price) for symbol, price in self.prices.items()}
        return [
            {"symbol": s, "lastPrice": p, "bidPrice": p, "askPrice": p} for s, p in texts.items()
        ]

    def _text(self, symbol: str, price: float) -> str:
        return f"{price:.{self._instruments[symbol].decimals}f}"


def _listed(symbol: str, instrument: Instrument) -> dict[str, Any]:
    tick, step = f"{instrument.tick:.{instrument.decimals}f}", instrument.step
    return {
        "symbol": symbol,
        "contractType": "PERPETUAL",
        "status": "TRADING",
        "baseAsset": symbol.removesuffix("USDT"),
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "deliveryDate": 4_133_404_800_000,
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET"],
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": tick, "minPrice": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "1000", "stepSize": step},
            {"filterType": "MIN_NOTIONAL", "notional": instrument.notional},
        ],
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
