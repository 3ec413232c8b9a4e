"""Binance's private REST API for USD-M futures as far as freqtrade uses it, over a real socket.

Requests are authenticated as the exchange does it: key in a header, HMAC-SHA256 over the query or
the form, a timestamp within the receive window. Serves the public part as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.integration.freqtrade.exchange import TICK, Exchange
from tests.integration.freqtrade.live_account import Account, Query, Refusal, now_ms

FUTURES = "/fapi.binance.com/fapi/"
WALLET = "/api.binance.com/sapi/v1/"
RECV_WINDOW_MS = 5_000
LONGEST_AHEAD_MS = 1_000
DEFAULT_RESTRICTIONS = {
    "ipRestrict": True,
    "enableReading": True,
    "enableWithdrawals": False,
    "enableInternalTransfer": False,
    "permitsUniversalTransfer": False,
    "enableFutures": True,
    "enableMargin": False,
    "enableSpotAndMarginTrading": False,
}


class LiveExchange(Exchange):
    """The simulated exchange with an account that one API key may trade."""

    def __init__(self, key: str, secret: str) -> None:
        super().__init__()
        self.key, self.secret = key, secret
        self.restrictions = dict(DEFAULT_RESTRICTIONS)
        self.clock_ahead_ms = 0
        self.hedge_mode = False
        self.account = self._new_account()
        self.private_requests: list[tuple[str, str, dict[str, str]]] = []
        """Method, path and parameters of every signed request, oldest first."""
        self.unknown: list[str] = []
        """Signed requests to addresses that are not simulated."""
        self.refused: list[str] = []
        """What was refused, and why."""
        self.refusals: dict[tuple[str, str], Refusal] = {}
        """By method and path: what is refused whatever it says."""
        self.lose_reply: Callable[[str, str], bool] = lambda method, path: False
        """Asked after a request was carried out: true and the connection ends without an answer."""
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Empty account, no demands remembered."""
        with self._lock:
            self.account = self._new_account()
            self.restrictions = dict(DEFAULT_RESTRICTIONS)
            self.clock_ahead_ms = 0
            self.hedge_mode = False
            self.lose_reply = lambda method, path: False
            self.refusals.clear()
            self.private_requests.clear()
            self.refused.clear()

    def environ(self) -> dict[str, str]:
        """Variables with which freqtrade's ccxt comes here instead of to Binance."""
        host = self.url.removesuffix("/fapi.binance.com/fapi/v1")
        prefix = "FREQTRADE__EXCHANGE__CCXT_CONFIG__URLS__API__"
        return {
            f"{prefix}fapiPublic": f"{host}{FUTURES}v1",
            f"{prefix}fapiPrivate": f"{host}{FUTURES}v1",
            f"{prefix}fapiPrivateV2": f"{host}{FUTURES}v2",
            f"{prefix}fapiPrivateV3": f"{host}{FUTURES}v3",
            f"{prefix}sapi": f"{host}{WALLET.rstrip('/')}",
        }

    def trade_by_hand(self, symbol: str, amount: str) -> None:
        """Somebody changes a position by `amount` base coins, past freqtrade."""
        with self._lock:
            side = "SELL" if amount.startswith("-") else "BUY"
            quantity = amount.removeprefix("-")
            order = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": quantity}
            self.account.order({**order, "newClientOrderId": "by-hand"})

    def cancel_by_hand(self, stop: int) -> None:
        """Somebody cancels a stop, past freqtrade."""
        with self._lock:
            self.account.cancel_stop({"algoId": str(stop)})

    def requests_to(self, path: str) -> list[tuple[str, dict[str, str]]]:
        """Method and parameters of the signed requests to `path`, for example `v1/order`."""
        with self._lock:
            return [(m, dict(q)) for m, p, q in self.private_requests if p == path]

    def _new_account(self) -> Account:
        return Account(self.prices, Decimal(str(TICK)))

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        address = urlsplit(request.path)
        if address.path == f"{FUTURES}v1/time":
            _send(request, 200, {"serverTime": now_ms() + self.clock_ahead_ms})
            return
        length = int(request.headers.get("Content-Length") or 0)
        signed = address.query or request.rfile.read(length).decode()
        answer = self._route(request.command, address.path)
        if answer is None and "X-MBX-APIKEY" not in request.headers:
            super()._answer(request)
            return
        with self._lock:
            try:
                query = self._authenticated(request, signed)
                self._note(request.command, address.path, query, known=answer is not None)
                if answer is None:
                    raise Refusal(-5000, "Path is not simulated", 404)
                if refusal := self.refusals.get((request.command, _short(address.path))):
                    raise refusal
                self.account.trigger()
                status, body = 200, answer(query)
            except Refusal as error:
                self.refused.append(f"{request.command} {address.path}: {error.text}")
                status, body = error.status, {"code": error.code, "msg": error.text}
        if self.lose_reply(request.command, _short(address.path)):
            request.close_connection = True
            return
        _send(request, status, body)

    def _note(self, method: str, path: str, query: dict[str, str], *, known: bool) -> None:
        self.private_requests.append((method, _short(path), query))
        if not known:
            self.unknown.append(f"{method} {path}")

    def _authenticated(self, request: BaseHTTPRequestHandler, signed: str) -> dict[str, str]:
        """The parameters, if they come from the holder of the key. Raises `Refusal`."""
        if request.headers.get("X-MBX-APIKEY") != self.key:
            raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        payload, _, signature = signed.rpartition("&signature=")
        expected = hmac.new(self.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, expected):
            raise Refusal(-1022, "Signature for this request is not valid.")
        query = dict(parse_qsl(payload, keep_blank_values=True))
        late_ms = now_ms() + self.clock_ahead_ms - int(query["timestamp"])
        if not -LONGEST_AHEAD_MS < late_ms <= int(query.get("recvWindow", RECV_WINDOW_MS)):
            raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
        return query

    def _route(self, method: str, path: str) -> Callable[[Query], Any] | None:
        account = self.account
        if path.startswith(WALLET):
            return {
                "account/apiRestrictions": lambda _: dict(self.restrictions),
                "capital/config/getall": lambda _: [],
            }.get(path.removeprefix(WALLET))
        routes: dict[tuple[str, str], Callable[[Query], Any]] = {
            ("GET", "v3/account"): lambda _: account.overview(),
            ("GET", "v3/positionRisk"): lambda _: account.risks(),
            ("GET", "v1/positionSide/dual"): lambda _: {"dualSidePosition": self.hedge_mode},
            ("GET", "v1/multiAssetsMargin"): lambda _: {"multiAssetsMargin": False},
            ("GET", "v1/accountConfig"): lambda _: {"feeTier": 0, "canTrade": True},
            ("GET", "v1/leverageBracket"): lambda _: [_brackets(s) for s in self.prices],
            ("POST", "v1/leverage"): account.set_leverage,
            ("POST", "v1/marginType"): account.set_margin_type,
            ("POST", "v1/order"): account.order,
            ("GET", "v1/order"): account.found,
            ("DELETE", "v1/order"): account.cancel_order,
            ("GET", "v1/openOrders"): lambda _: [],
            ("GET", "v1/allOrders"): lambda q: _of(account.orders.values(), q),
            ("POST", "v1/algoOrder"): account.stop,
            ("GET", "v1/algoOrder"): account.found_stop,
            ("DELETE", "v1/algoOrder"): account.cancel_stop,
            ("GET", "v1/openAlgoOrders"): lambda q: account.open_stops(q.get("symbol")),
            ("GET", "v1/allAlgoOrders"): lambda q: _of(account.stops.values(), q),
            ("GET", "v1/userTrades"): lambda q: _of(account.fills, q),
            ("GET", "v1/income"): lambda _: [],
        }
        return routes.get((method, path.removeprefix(FUTURES)))


def live_settings(folder: Path, exchange: LiveExchange) -> dict[str, str]:
    """Settings under which freqtrade holds the keys of `exchange`, in files in `folder`."""
    settings = exchange.environ()
    for name, value in (("KEY", exchange.key), ("SECRET", exchange.secret)):
        path = folder / f"exchange-{name.lower()}"
        path.write_text(value + "\n")
        settings[f"FREQTRADE_EXCHANGE_{name}_FILE"] = str(path)
    return settings


def _short(path: str) -> str:
    return path.removeprefix(FUTURES).removeprefix(WALLET)


def _send(request: BaseHTTPRequestHandler, status: int, body: Any) -> None:
    data = json.dumps(body).encode()
    with contextlib.suppress(ConnectionError):  # who asked may have been killed meanwhile
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)


def _of(records: Any, query: Query) -> list[dict[str, Any]]:
    """Those of the symbol since `startTime`."""
    since = int(query.get("startTime", 0))
    return [
        record
        for record in records
        if record["symbol"] == query["symbol"]
        and int(record.get("time") or record.get("createTime") or 0) >= since
    ]


def _brackets(symbol: str) -> dict[str, Any]:
    bounds = [(125, 0, 50_000, 0.004), (20, 50_000, 10_000_000, 0.02)]
    return {
        "symbol": symbol,
        "notionalCoef": 1.0,
        "brackets": [
            {
                "bracket": number,
                "initialLeverage": leverage,
                "notionalFloor": floor,
                "notionalCap": cap,
                "maintMarginRatio": ratio,
                "cum": 0.0,
            }
            for number, (leverage, floor, cap, ratio) in enumerate(bounds, 1)
        ],
    }
