"""A played venue: an adapter with a dialect of its own, sockets and reports in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from aggr_server.bars import BarBuilder
from aggr_server.exchanges.base import (
    NOTHING,
    Ack,
    Adapter,
    Channel,
    Event,
    Greeting,
    Instrument,
    Leaving,
    Liquidation,
    Page,
    Rejection,
    Reply,
    Request,
    Stream,
    StreamKind,
    Subscription,
    Trade,
    batches,
)
from aggr_server.markets import MarketState
from aggr_server.transport import Disconnected, Refused, Socket


class Frame(msgspec.Struct):
    """`what`: trade, liquidation, ack, reject, reply, greet or leave."""

    what: Literal["trade", "liquidation", "ack", "reject", "reply", "greet", "leave"]
    wire: str = ""
    id: int | str = ""
    ts: int = 0
    price: float = 100.0
    size: float = 1.0
    kind: StreamKind | Literal[""] = ""
    text: str = ""


class Toy(Adapter):
    """Spot and perpetual markets `BTC`, `ETH` ...; two streams per message."""

    name = "TOY"
    channels = {  # noqa: RUF012
        "all": Channel(url="wss://toy.example/ws", max_streams=8, carries=("trades",)),
    }
    discovery = ()
    connect_spacing_s = 0.0
    message_spacing_s = 0.0
    per_message = 2

    def instruments(self, body: bytes) -> Page:
        return Page([])

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        return [
            Subscription(" ".join(f"{s.instrument.wire}:{s.kind}" for s in part))
            for part in batches(streams, self.per_message)
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        f = msgspec.json.decode(frame, type=Frame)
        if f.what == "trade":
            return (Trade(f.wire, f.ts, f.price, f.size, True, f.id),)
        if f.what == "liquidation":
            return (Liquidation(f.wire, f.ts, f.price, f.size, True, f.id),)
        if f.what == "reject":
            return (Rejection(f.text, f.wire, f.kind),)
        events: dict[str, Event] = {
            "ack": Ack(),
            "reply": Reply(f.text),
            "greet": Greeting(),
            "leave": Leaving(f.text),
        }
        return (events[f.what],) if f.what in events else NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        return Instrument(
            symbol=wire, wire=wire, base=wire, quote="USDT", kind="perp", channel="all"
        )

    def entered(self, channel: str, body: bytes) -> str:
        return msgspec.json.decode(body, type=str)


class Both(Toy):
    """Trades and forced orders over one socket."""

    channels = {  # noqa: RUF012
        "all": Channel(
            url="wss://toy.example/ws", max_streams=8, carries=("trades", "liquidations")
        ),
    }


def frame(what: str, **fields: object) -> bytes:
    """A frame of the dialect."""
    return msgspec.json.encode({"what": what, **fields})


def markets(adapter: Adapter, *wires: str) -> list[MarketState]:
    """Followed markets, each with a series of its own."""
    builder = BarBuilder()
    return [
        MarketState(adapter, i, builder.series(adapter.market(i)))
        for i in map(adapter.assume, wires)
    ]


class Line:
    """A played socket: the test puts in frames, or an exception that ends the connection."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url = url
        self.headers = headers
        self.sent: asyncio.Queue[str] = asyncio.Queue()
        self.inbox: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.closed = asyncio.Event()

    def put(self, *items: bytes | Exception) -> None:
        """Let these arrive."""
        for item in items:
            self.inbox.put_nowait(item)

    async def confirm(self, messages: int = 1) -> list[str]:
        """Wait for subscriptions and confirm each."""
        asked = []
        for _ in range(messages):
            asked.append(await self.sent.get())
            self.put(frame("ack"))
        return asked

    async def send(self, text: str) -> None:
        self.sent.put_nowait(text)

    async def receive_all(self, on_frame: Callable[[bytes], int], batch: int) -> None:
        while True:
            item = await self.inbox.get()
            if isinstance(item, Exception):
                raise item
            on_frame(item)

    async def close(self) -> None:
        self.closed.set()


class Exchange:
    """Hands out played sockets, after the refusals it was given."""

    def __init__(self, *refusals: Refused) -> None:
        self.refusals = list(refusals)
        self.lines: asyncio.Queue[Line] = asyncio.Queue()
        self.urls: list[str] = []

    async def connect(self, url: str, headers: Mapping[str, str] | None = None) -> Socket:
        self.urls.append(url)
        if self.refusals:
            raise self.refusals.pop(0)
        line = Line(url, headers or {})
        self.lines.put_nowait(line)
        return line


class Reports:
    """What the feeds vouch for: events in order, times in `at`, and who is live now."""

    def __init__(self) -> None:
        self.seen: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self.all: list[tuple[str, ...]] = []
        self.at: list[int] = []
        self.now_live: set[tuple[str, str]] = set()

    def live(self, market: MarketState, kind: StreamKind, at_ms: int) -> None:
        assert (market.name, kind) not in self.now_live
        self.now_live.add((market.name, kind))
        self._note(at_ms, "live", market.instrument.wire, kind)

    def lost(self, market: MarketState, kind: StreamKind, at_ms: int, reason: str) -> None:
        assert (market.name, kind) in self.now_live
        self.now_live.discard((market.name, kind))
        self._note(at_ms, "lost", market.instrument.wire, kind, reason)

    def refused(self, market: MarketState, kind: StreamKind, reason: str) -> None:
        self.now_live.discard((market.name, kind))
        self._note(0, "refused", market.instrument.wire, kind, reason)

    def doubtful(self, market: MarketState, from_ms: int, to_ms: int, reason: str) -> None:
        assert from_ms < to_ms
        self._note(from_ms, "doubtful", market.instrument.wire, reason)

    async def next(self, what: str = "") -> tuple[str, ...]:
        """The next report, of the sort `what` if that is given."""
        while True:
            report = await self.seen.get()
            if not what or report[0] == what:
                return report

    def count(self, what: str) -> int:
        """How many reports of this sort there were."""
        return sum(report[0] == what for report in self.all)

    def _note(self, at_ms: int, *report: str) -> None:
        self.all.append(report)
        self.at.append(at_ms)
        self.seen.put_nowait(report)


class Oracle:
    """A prover that answers what the test wants: `newest[wire]`, or None."""

    def __init__(self, newest: dict[str, int] | None = None) -> None:
        self.newest = newest
        self.asked: list[str] = []

    async def newest_trade_ms(self, market: MarketState) -> int | None:
        wire = market.instrument.wire
        self.asked.append(wire)
        return None if self.newest is None else self.newest.get(wire, 0)


def clean(reason: str = "code 1000") -> Disconnected:
    """The venue says goodbye."""
    return Disconnected(reason, clean=True)


def asks(answer: str) -> Callable[[Request], object]:
    """An entrance that always answers `answer`."""

    async def ask(request: Request) -> bytes:
        return msgspec.json.encode(answer)

    return ask


def flat(reports: Iterable[tuple[str, ...]]) -> list[str]:
    """Reports as lines."""
    return [" ".join(report) for report in reports]
