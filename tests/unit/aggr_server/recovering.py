"""A venue with a past, and a market that missed some of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from aggr_server import clock
from aggr_server.bars import BarBuilder
from aggr_server.exchanges.base import (
    Adapter,
    Event,
    Instrument,
    Liquidation,
    Page,
    Past,
    Request,
    Stream,
    Subscription,
    Trade,
    Window,
)
from aggr_server.gaps import GapBook
from aggr_server.markets import MarketState
from aggr_server.recovery import Recovery
from aggr_server.rest import RestFailed
from aggr_server.wire import Bar

X = "FAKE:x"
INSTRUMENT = Instrument(
    symbol="x", wire="x", base="X", quote="USD", kind="perp", channel="c", contract_size=1.0
)


class Fake(Adapter):
    """A venue whose answers are lists of trades as JSON; `style` is how it pages."""

    name = "FAKE"
    channels = {}  # noqa: RUF012
    discovery = ()

    def __init__(self, style: str = "window", page: int = 1000) -> None:
        self.style = style
        self.page = page

    def past(self, instrument: Instrument, window: Window) -> Request | None:
        if self.style == "none":
            return None
        if self.style == "window":
            return Request(f"from={window.from_ms}&to={window.to_ms}")
        return Request("from=0&newest")

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        answer = msgspec.json.decode(body)
        trades = [Trade("x", ts, price, size, True, id, id) for ts, price, size, id in answer]
        forced = None
        if self.style == "forced":
            forced = [Liquidation("x", t.ts_ms, t.price, 1.0, True, t.id) for t in trades[:1]]
        if self.style == "newest":
            return Past(trades, None, min((t.ts_ms for t in trades), default=0))
        if len(trades) < self.page or self.style == "forced":
            return Past(trades, liquidations=forced)
        if self.style == "window":
            return Past(trades, Request(f"after={trades[-1].id}&to={window.to_ms}"))
        oldest = min(trades, key=lambda t: t.ts_ms)
        if oldest.ts_ms < window.from_ms:
            return Past(trades)
        return Past(trades, Request(f"before={oldest.id}"))

    def instruments(self, body: bytes) -> Page:
        raise NotImplementedError

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        raise NotImplementedError

    def parse(self, frame: bytes) -> Sequence[Event]:
        raise NotImplementedError

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        raise NotImplementedError


class Tape:
    """The REST interface of the fake venue."""

    def __init__(self, adapter: Fake) -> None:
        self.trades: list[tuple[int, float, float, int]] = []
        self.asked: list[str] = []
        self.failures: list[RestFailed] = []
        self.adapter = adapter
        self.keeps = 10**9
        self.hidden_from_ms = 1 << 60

    async def ask(self, request: Request, *, probe: bool = False) -> bytes:
        self.asked.append(request.url)
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        terms = dict(part.split("=") for part in request.url.split("&") if "=" in part)
        found = [t for t in self.trades[-self.keeps :] if t[0] < self.hidden_from_ms]
        found = [t for t in found if int(terms.get("from", 0)) <= t[0]]
        found = [t for t in found if t[0] < int(terms.get("to", 1 << 60))]
        found = [t for t in found if t[3] > int(terms.get("after", 0))]
        found = [t for t in found if t[3] < int(terms.get("before", 1 << 60))]
        page = self.adapter.page
        backwards = self.adapter.style in ("back", "newest")
        return msgspec.json.encode(found[-page:][::-1] if backwards else found[:page])


class Bench:
    """A market with a past of `seconds`, one trade of each second received unless it was lost."""

    def __init__(self, style: str = "window", page: int = 1000, recover_s: int = 14_400) -> None:
        self.builder = BarBuilder(keep_s=300)
        self.book = GapBook()
        self.adapter = Fake(style, page)
        self.rest = Tape(self.adapter)
        self.now_s = clock.now_ms() // 1000
        self.builder.next_s = self.now_s - 1
        self.market = MarketState(self.adapter, INSTRUMENT, self.builder.series(X))
        self.recover_s = recover_s
        self.forced: Any = None

    def traded(self, from_s: int, to_s: int) -> None:
        for second in range(from_s, to_s):
            n = len(self.rest.trades)
            self.rest.trades.append((second * 1000 + 10, 100.0 + n % 7, 2.0, n + 1))

    def missed(self, from_s: int, to_s: int) -> None:
        self.book.add(X, "trades", from_s, to_s, "disconnect")

    def bars(self) -> dict[int, Bar]:
        closed = self.builder.advance((self.builder.next_s + 1) * 1000 + 300)
        return {b.time: b for c in closed for b in (*c.bars, *c.amended)}

    @asynccontextmanager
    async def fetching(self) -> AsyncIterator[Recovery]:
        options = {"forced": self.forced} if self.forced else {}
        recovery = Recovery(
            self.adapter,
            self.rest,
            self.book,
            {X: self.market},
            recover_s=self.recover_s,
            **options,
        )
        task = asyncio.create_task(recovery.run())
        recovery.look()
        try:
            yield recovery
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def left(self) -> set[int]:
        self.book.settle()
        return {
            s
            for span in self.book.spans()
            if span.kind == "trades"
            for s in range(span.from_s, span.to_s)
        }


async def until(recovery: Recovery, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            recovery.look()
            await asyncio.sleep(0.002)
