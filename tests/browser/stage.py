"""The page's real files, with a server behind them that says what a test wants it to say."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler

from services.core.views import Setup, View, Wait, Window
from services.dashboard.assets import Assets
from services.dashboard.guard import HEADERS
from services.dashboard.protocol import (
    Board,
    BoardRow,
    Hello,
    History,
    Message,
    Second,
    Strategy,
)

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
STEPS = [1, 5, 15, 60, 300, 900, 1800, 3600, 14_400]
STARTED = int(time.time()) - 8 * 86_400
PARTS_MAX = {
    "cvd_reset_deceleration": 3.5,
    "absorption_candle": 2.5,
    "failed_breakdown": 2.0,
    "directional_bias": 2.0,
    "oi_confirmation": 2.0,
}


def now_ms() -> int:
    """UTC now."""
    return time.time_ns() // 1_000_000


class Stage:
    """`asked`: the queries of `/api/history`. `watched`: what the browser wants to watch."""

    def __init__(self) -> None:
        self._assets = Assets()
        self._sockets: set[web.WebSocketResponse] = set()
        self.asked: list[dict[str, str]] = []
        self.watched: list[str] = []
        self.watching = asyncio.Event()
        self.hello: Callable[[], Hello] = hello
        self.past: Callable[[str, int, int, int], History] = waves
        self.url = ""

    def application(self) -> web.Application:
        """Everything the page asks for."""
        application = web.Application()
        application.on_response_prepare.append(_add_headers)
        router = application.router
        router.add_get("/", self._page("index.html"))
        router.add_get("/login", self._page("login.html"))
        router.add_get("/assets/{name}", self._assets.handle)
        router.add_get("/api/history", self._history)
        router.add_get("/live", self._live)
        return application

    async def say(self, *messages: Message) -> None:
        """Send to every page."""
        for message in messages:
            text = msgspec.json.encode(message).decode()
            for socket in list(self._sockets):
                await socket.send_str(text)

    async def drop(self, code: int = 1001) -> None:
        """Close every connection."""
        self.watching.clear()
        for socket in list(self._sockets):
            await socket.close(code=code)

    def _page(self, name: str) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            return self._assets.page(name, request)

        return handle

    async def _history(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        if request.method == "HEAD":
            return web.Response()
        self.asked.append(query)
        from_s, to_s = (min(int(query[name]), int(time.time())) for name in ("from", "to"))
        past = self.past(query["symbol"], int(query["step"]), from_s, to_s)
        return web.Response(body=msgspec.json.encode(past), content_type="application/json")

    async def _live(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(msgspec.json.encode(self.hello()).decode())
        self._sockets.add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self.watched.append(msgspec.json.decode(message.data)["symbol"])
                    self.watching.set()
        finally:
            self._sockets.discard(socket)
        return socket


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """A stage that listens."""
    stage = Stage()
    runner = web.AppRunner(stage.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        stage.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield stage
    finally:
        await stage.drop()
        await runner.cleanup()


def hello() -> Hello:
    """The first word of a demo's server."""
    return Hello(
        version="1",
        ts_ms=now_ms(),
        symbols=SYMBOLS,
        execution_exchange="BINANCE_FUTURES",
        steps=STEPS,
        mode="demo",
        real_money=False,
    )


def price_at(t: int) -> float:
    """Price of second `t`."""
    return 64_000.0 + 400.0 * math.sin(t / 2_000) + 30.0 * math.sin(t / 90)


def second(t: int, symbol: str = SYMBOLS[0]) -> Second:
    """Second `t`; spot buys 1000 USD net, perpetuals sell 500."""
    price = price_at(t)
    return Second(
        symbol=symbol,
        t=t,
        ts_ms=now_ms(),
        bar=(price, price + 1, price - 1, price),
        spot=1_000.0,
        perp=-500.0,
        spot_volume=8_000.0,
        perp_volume=20_000.0,
        lbuy=0.0,
        lsell=0.0,
    )


def waves(symbol: str, step: int, from_s: int, to_s: int) -> History:
    """Bars that are sums of `second`, back to when the stage was `STARTED`."""
    first = -(-max(from_s, STARTED) // step) * step
    times = list(range(first, to_s, step))
    lengths = [min(step, to_s - t) for t in times]
    return History(
        symbol=symbol,
        step=step,
        t=times,
        open=[price_at(t) for t in times],
        high=[price_at(t) + 5 for t in times],
        low=[price_at(t) - 5 for t in times],
        close=[price_at(t + n - 1) for t, n in zip(times, lengths, strict=True)],
        spot=[1_000.0 * n for n in lengths],
        perp=[-500.0 * n for n in lengths],
        spot_volume=[8_000.0 * n for n in lengths],
        perp_volume=[20_000.0 * n for n in lengths],
        lbuy=[40_000.0 if t % 1_800 < step else 0.0 for t in times],
        lsell=[25_000.0 if t % 2_700 < step else 0.0 for t in times],
        oi_t=times,
        oi_coins=[88_000.0 + 500 * math.sin(t / 3_000) for t in times],
        complete_from=STARTED,
    )


def nothing(symbol: str, step: int, from_s: int, to_s: int) -> History:
    """A store in which nothing is yet."""
    return History(
        symbol=symbol, step=step, t=[], open=[], high=[], low=[], close=[], spot=[], perp=[],
        spot_volume=[], perp_volume=[], lbuy=[], lsell=[], oi_t=[], oi_coins=[], complete_from=to_s,
    )  # fmt: skip


def board(state: str = "WATCHING", score: float | None = None, direction: int = 0) -> Board:
    """All symbols; the state is that of the first."""
    rows = [
        BoardRow(
            symbol=symbol,
            price=64_000.0 / (i + 1),
            price_t=now_ms() // 1000,
            change_4h=0.0123 - 0.01 * i,
            state=state if i == 0 else "WATCHING",
            direction=direction if i == 0 else 0,
            score=score if i == 0 else None,
            since_t=now_ms() // 1000 - 60,
            age_ms=200,
        )
        for i, symbol in enumerate(SYMBOLS)
    ]
    return Board(ts_ms=now_ms(), rows=rows)


def window(minutes: int, gap: float = 2.0) -> Window:
    """A window whose legs differ by `gap` scales."""
    return Window(
        minutes=minutes,
        z_spot=gap / 2,
        z_perp=-gap / 2,
        z_price=0.2,
        gap=gap,
        holds=gap > 3,
        scale_spot=400_000.0,
        scale_perp=300_000.0,
        scale_price=0.002,
        scale_gap=1.2,
    )


def view(state: str = "WATCHING", **changes: object) -> View:
    """What the strategy sees of the first symbol."""
    t = now_ms() // 1000 - 1
    values: dict[str, object] = {
        "symbol": SYMBOLS[0],
        "base": "BTC",
        "t": t,
        "state": state,
        "since_t": t - 60,
        "price": price_at(t),
        "c_spot": 1_234_567.0,
        "c_perp": -765_432.0,
        "coverage": 0.97,
        "k": 0.41,
        "windows": [window(30), window(15, 1.0)],
        "score_needed": 4.0,
        "gap_needed": 3.0,
        "parts_max": PARTS_MAX,
        "waits": [
            Wait(
                code="gap", text="gap, 30 min: 2.00 of 3.00 z", met=False,
                have=2.0, need=3.0, unit="z",
            ),
            Wait(code="sustained", text="spot buying in 2 of 3 parts of the window", met=True),
        ],
    }  # fmt: skip
    return View(**{**values, **changes})  # type: ignore[arg-type]


def reset(score: float) -> View:
    """A set-up whose score has come to `score`."""
    t = now_ms() // 1000
    setup = Setup(
        setup_id="BTC:1:1", direction=1, anchor_t=t - 2_700, detected_t=t - 900, window_min=30,
        peak_t=t - 700, gap=2.3, gap_peak=4.4, closed=0.48, reset_type="A", reset_t=t - 300,
        extreme_price=price_at(t) - 100, tests=2, oi_state="STRONG", oi_z=2.4,
    )  # fmt: skip
    parts = {name: round(score * most / 12, 3) for name, most in PARTS_MAX.items()}
    waits = [
        Wait(
            code="score", text=f"score: {score:.2f} of 4.00 points", met=score >= 4,
            have=score, need=4.0, unit="points",
        ),
        Wait(code="context", text="hours do not speak against a long", met=True, kind="guard"),
    ]  # fmt: skip
    return view("RESET", direction=1, score=score, parts=parts, setup=setup, waits=waits)


def strategy(seen: View | None) -> Strategy:
    """The block of the first symbol."""
    return Strategy(symbol=SYMBOLS[0], ts_ms=now_ms(), view=seen)
