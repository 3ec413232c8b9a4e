"""freqtrade's REST API as far as it is read, over a real socket."""

from __future__ import annotations

from typing import Any

from aiohttp import encode_basic_auth, web
from aiohttp.test_utils import TestServer

from services.core.settings import FreqtradeSettings


def trade(**fields: Any) -> dict[str, Any]:
    """An open trade as `/status` lists it."""
    return {
        "trade_id": 7,
        "pair": "BTC/USDT:USDT",
        "is_short": True,
        "is_open": True,
        "open_timestamp": 0,
        "open_fill_timestamp": 0,
        "open_rate": 101.0,
        "amount": 1.0,
        "stake_amount": 50.0,
        "leverage": 2.0,
        "enter_tag": None,
        "profit_abs": 0.0,
        "exit_reason": None,
        "orders": [],
        **fields,
    }


class FreqtradeDouble:
    """Answers with `opened` and `closed`; `status` other than 200 is answered to everything."""

    def __init__(self) -> None:
        self.opened: list[dict[str, Any]] = []
        self.closed: list[dict[str, Any]] = []
        self.dry_run = True
        self.max_open_trades = 5.0
        self.status = 200
        app = web.Application()
        app.router.add_get("/api/v1/{what}", self._answer)
        self._server = TestServer(app)

    async def __aenter__(self) -> FreqtradeDouble:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def settings(self, password: str = "secret") -> FreqtradeSettings:
        return FreqtradeSettings(freqtrade_api_url=self.url, freqtrade_api_password=password)

    async def _answer(self, request: web.Request) -> web.Response:
        what = request.match_info["what"]
        if self.status != 200:
            return web.Response(status=self.status, text="Internal Server Error")
        if what != "ping" and request.headers.get("Authorization") != _LOGIN:
            return web.json_response({"detail": "Unauthorized"}, status=401)
        answers: dict[str, Any] = {
            "ping": {"status": "pong"},
            "health": {"last_process": None, "last_process_ts": 5},
            "show_config": {
                "dry_run": self.dry_run,
                "state": "running",
                "max_open_trades": self.max_open_trades,
            },
            "status": self.opened,
            "trades": {
                "trades": self.closed,
                "trades_count": len(self.closed),
                "offset": 0,
                "total_trades": len(self.closed),
            },
            "balance": {"total": 1000.0, "currencies": []},
        }
        return web.json_response(answers[what])


_LOGIN = encode_basic_auth("squeezeflow", "secret")
