"""The library ccxt in the place of a venue's websocket and REST interfaces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from aggr_server import clock
from aggr_server.ccxt_markets import Message, library, plain
from aggr_server.exchanges.base import Request
from aggr_server.gateway import through_all
from aggr_server.rest import RestFailed
from aggr_server.transport import Disconnected, Refused

TIMEOUT_S = 30.0
LIMITED_S = 60.0
OPEN_WITHIN_S = 10.0
SETTLE_S = 1.0
"""How long a refusal may take after the library has connected."""

LOOK_EVERY_S = 0.25
"""What arrives while the library is not asked is not announced, but kept: look for it."""

KEPT_TRADES = 20_000
PAGE = 1000

_LISTED = ("symbol", "base", "quote", "type", "inverse", "contract", "contractSize", "active")
_REFUSALS = ("BadSymbol", "BadRequest", "NotSupported")
_LIMITS = ("RateLimitExceeded", "DDoSProtection")
_encode = msgspec.json.Encoder().encode
_NO_HEADERS: Mapping[str, str] = {}


class LibraryFailed(Exception):
    """The library raised an exception called `kind`."""

    def __init__(self, error: Exception) -> None:
        self.kind = type(error).__name__
        super().__init__(f"{self.kind}: {error}"[:300])


async def _call(work: Awaitable[Any], within_s: float | None = None) -> Any:
    """What `work` returns. Raises `LibraryFailed`."""
    try:
        if within_s is None:
            return await work
        async with clock.timeout(within_s):
            return await work
    except Exception as error:  # parsers of a hundred exchanges may raise anything
        raise LibraryFailed(error) from error


class CcxtLink:
    """Everything that is asked of one exchange: a `Connector` and a `Rest`.

    `gateway` as in `through_gateway`. `close` when nothing is asked for any more.
    """

    def __init__(self, exchange_id: str, gateway: str = "") -> None:
        self._id = exchange_id
        self._gateway = gateway
        self._rest: Any = None

    async def connect(self, url: str, headers: Mapping[str, str] = _NO_HEADERS) -> CcxtSocket:
        """A fresh instance of the exchange, which connects when it is told what to watch."""
        exchange = self._make()
        try:
            if self._rest is not None and self._rest.markets:
                exchange.set_markets_from_exchange(self._rest)
            else:
                await _call(exchange.load_markets(), TIMEOUT_S)
        except LibraryFailed as error:
            await exchange.close()
            raise Refused(str(error)) from error
        return CcxtSocket(exchange)

    async def ask(self, request: Request, *, probe: bool = False) -> bytes:
        """`ccxt:markets` or `ccxt:trades?symbol=..&since=..`. Raises `RestFailed`."""
        if self._rest is None:
            self._rest = self._make()
        what = urlsplit(request.url)
        try:
            if what.path == "markets":
                markets = await _call(self._rest.load_markets(True), TIMEOUT_S)
                return _encode([{key: m.get(key) for key in _LISTED} for m in markets.values()])
            asked = parse_qs(what.query)
            symbol, since = asked["symbol"][0], int(asked["since"][0])
            found = await _call(self._rest.fetch_trades(symbol, since, PAGE), TIMEOUT_S)
            return _encode({"since": since, "trades": [plain(trade) for trade in found]})
        except LibraryFailed as error:
            pause_s = LIMITED_S if error.kind in _LIMITS else 0.0
            raise RestFailed(str(error), retry_after_s=pause_s) from error

    async def close(self) -> None:
        """Give up what is open."""
        if self._rest is not None:
            exchange, self._rest = self._rest, None
            await exchange.close()

    def _make(self) -> Any:
        exchange = library(self._id)({"options": {"tradesLimit": KEPT_TRADES}})
        exchange.urls["api"] = through_all(exchange.urls["api"], self._gateway)
        return exchange


class CcxtSocket:
    """One instance of an exchange, watching."""

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_frame: Callable[[bytes], int] | None = None
        self._receiving = asyncio.Event()
        self._ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def send(self, text: str) -> None:
        """Watch the symbols in `text`, a JSON list."""
        if self._ended.done():
            raise Disconnected("the connection has ended", clean=False)
        for symbol in msgspec.json.decode(text, type=list[str]):
            self._start(self._watch(symbol))

    async def receive_all(self, on_frame: Callable[[bytes], int], batch: int) -> None:
        """Others get a turn after every message; the library keeps what arrives meanwhile."""
        self._on_frame = on_frame
        self._receiving.set()
        raise await self._ended

    async def close(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(LibraryFailed):
            await _call(self._exchange.close())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._after)

    def _after(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._ended.done():
            return
        error = task.exception()
        if isinstance(error, Exception):
            self._ended.set_result(error)

    async def _watch(self, symbol: str) -> None:
        await self._receiving.wait()
        since_ms = clock.now_ms()
        news = asyncio.ensure_future(_call(self._exchange.watch_trades(symbol)))
        last: dict[str, Any] | None = None
        try:
            await self._settle(news)
            if not news.done() or news.exception() is None:
                self._tell(Message(symbol, watched=True))
            while True:
                found = news.result() if news.done() else self._kept_after(symbol, last)
                if found:
                    last = found[-1]
                    self._pass_on(symbol, found, since_ms)
                if news.done():
                    news = asyncio.ensure_future(_call(self._exchange.watch_trades(symbol)))
                await _wait(news, LOOK_EVERY_S)
        except LibraryFailed as error:
            if error.kind not in _REFUSALS:
                raise Disconnected(str(error), clean=False) from error
            self._tell(Message(symbol, refused=str(error)))
        finally:
            news.cancel()

    async def _settle(self, first: asyncio.Future[Any]) -> None:
        """Return when the library has connected, and the exchange had time to refuse."""
        deadline_s = clock.monotonic() + OPEN_WITHIN_S
        while not first.done() and not self._is_open():
            if clock.monotonic() > deadline_s:
                raise Disconnected(f"not connected within {OPEN_WITHIN_S:.0f} s", clean=False)
            await clock.sleep(0.05)
        await _wait(first, SETTLE_S)

    def _is_open(self) -> bool:
        clients = list(self._exchange.clients.values())
        return bool(clients) and all(client.connected.done() for client in clients)

    def _kept_after(self, symbol: str, last: dict[str, Any] | None) -> list[dict[str, Any]]:
        """What the library has kept after `last`, one of the objects it gave out."""
        found: list[dict[str, Any]] = []
        if last is None:
            return found
        for trade in reversed(self._exchange.trades.get(symbol) or ()):
            if trade is last:
                return found[::-1]
            found.append(trade)
        return []

    def _pass_on(self, symbol: str, found: list[dict[str, Any]], since_ms: int) -> None:
        rows = [plain(trade) for trade in found]
        # Of old trades without ids nobody could tell whether they were counted before.
        rows = [row for row in rows if row["id"] is not None or row["timestamp"] >= since_ms]
        if rows:
            self._tell({"symbol": symbol, "trades": rows})

    def _tell(self, message: object) -> None:
        assert self._on_frame is not None
        self._on_frame(_encode(message))


async def _wait(future: asyncio.Future[Any], seconds: float) -> None:
    """Until `future` is done, but not longer."""
    with suppress(TimeoutError):
        async with clock.timeout(seconds):
            await asyncio.wait({future})
