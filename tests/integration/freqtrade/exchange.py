"""The part of a futures exchange that freqtrade asks in dry-run, with a price a test can move."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PREFIX = "/fapi.binance.com/fapi/v1/"
TICK = 0.1
CANDLE_MS = 60_000
_LOT = {"BTC": ("0.001", "100"), "ETH": ("0.001", "20")}


class Exchange:
    """Serves BTCUSDT and ETHUSDT on a free port of 127.0.0.1. Prices in USDT."""

    def __init__(self) -> None:
        self.prices = {"BTCUSDT": 100_000.0, "ETHUSDT": 4_000.0}
        self.depth_requests = 0
        exchange = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                exchange._answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """What stands before the path of each request."""
        return f"http://127.0.0.1:{self._server.server_port}{PREFIX.rstrip('/')}"

    def start(self) -> None:
        """Serve in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        address = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        answers: dict[str, Callable[[dict[str, str]], Any]] = {
            "exchangeInfo": self._instruments,
            "time": lambda _: {"serverTime": _now_ms()},
            "klines": self._candles,
            "markPriceKlines": lambda _: [],
            "fundingRate": lambda _: [],
            "depth": self._book,
            "ticker/24hr": self._tickers,
            "ticker/bookTicker": self._tickers,
        }
        answer = answers.get(address.path.removeprefix(PREFIX))
        body = json.dumps(answer(query) if answer else {"code": -1, "msg": "unknown"}).encode()
        request.send_response(200 if answer else 404)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _instruments(self, query: dict[str, str]) -> Any:
        return {"symbols": [_instrument(symbol) for symbol in self.prices]}

    def _candles(self, query: dict[str, str]) -> Any:
        price, now = self.prices[query["symbol"]], _now_ms()
        newest = now - now % CANDLE_MS
        starts = range(newest - 50 * CANDLE_MS, newest + 1, CANDLE_MS)
        return [[start, *[f"{price:.1f}"] * 4, "1.0"] for start in starts]

    def _book(self, query: dict[str, str]) -> Any:
        self.depth_requests += 1
        price = self.prices[query["symbol"]]
        levels = range(int(query.get("limit", "5")))
        return {
            "bids": [[f"{price - TICK * i:.1f}", "50"] for i in levels],
            "asks": [[f"{price + TICK * (i + 1):.1f}", "50"] for i in levels],
        }

    def _tickers(self, query: dict[str, str]) -> Any:
        return [
            {"symbol": s, "lastPrice": f"{p:.1f}", "bidPrice": f"{p:.1f}", "askPrice": f"{p:.1f}"}
            for s, p in self.prices.items()
        ]


def _instrument(symbol: str) -> dict[str, Any]:
    base = symbol.removesuffix("USDT")
    step, notional = _LOT[base]
    return {
        "symbol": symbol,
        "contractType": "PERPETUAL",
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "deliveryDate": 4_133_404_800_000,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": str(TICK), "minPrice": "0.1"},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "1000", "stepSize": step},
            {"filterType": "MIN_NOTIONAL", "notional": notional},
        ],
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
