"""Who looks at the page, and what each of them has still to be sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from services.dashboard.protocol import Close, Fresh, Message

MAX_VIEWERS = 50
LINGER_S = 2.0
MAX_WAITING = 500
MAX_WAITING_BYTES = 8_000_000
"""A viewer for whom more than this waits is too slow."""

_encode = msgspec.json.Encoder().encode


class Viewer:
    """One open page. `session`: of its login, empty without. `symbol`: what it watches."""

    def __init__(self, session: str = "") -> None:
        self.session = session
        self.symbol = ""
        self.end: Close | None = None
        self.ended = asyncio.Event()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._news = asyncio.Event()

    def tell(self, data: bytes) -> None:
        """Send as soon as possible; never waits. A viewer that is too slow is closed."""
        if self.end is not None:
            return
        if len(self._waiting) >= MAX_WAITING or self._bytes + len(data) > MAX_WAITING_BYTES:
            self.close(Close.TOO_SLOW)
            return
        self._waiting.append(data)
        self._bytes += len(data)
        self._news.set()

    def close(self, why: Close) -> None:
        """Send no more."""
        if self.end is None:
            self.end = why
            self.ended.set()
            self._waiting.clear()
            self._news.set()

    async def next(self) -> bytes | None:
        """The next message to be sent; None when it is over."""
        while not self._waiting:
            if self.end is not None:
                return None
            self._news.clear()
            await self._news.wait()
        data = self._waiting.popleft()
        self._bytes -= len(data)
        return data


class _Block:
    """What was sent last, as it was encoded."""

    __slots__ = ("data", "message")

    def __init__(self, message: Message, data: bytes) -> None:
        self.message = message
        self.data = data


class Audience:
    """Encodes each message once, whoever it goes to.

    `present` is set while anybody looks. `on_watch` is called when a viewer begins to watch a
    symbol. Blocks of a symbol go to those who watch it, others to all.
    """

    def __init__(self) -> None:
        self.present = asyncio.Event()
        self._absent = asyncio.Event()
        self.on_watch: Callable[[str], None] = lambda symbol: None
        self._viewers: set[Viewer] = set()
        self._blocks: dict[tuple[str, str], _Block] = {}

    def __len__(self) -> int:
        return len(self._viewers)

    @property
    def full(self) -> bool:
        """Whether nobody else may look."""
        return len(self._viewers) >= MAX_VIEWERS

    @property
    def symbols(self) -> set[str]:
        """What is watched."""
        return {viewer.symbol for viewer in self._viewers if viewer.symbol}

    def join(self, viewer: Viewer) -> None:
        """A page was opened."""
        self._viewers.add(viewer)
        self._absent.clear()
        self.present.set()

    def leave(self, viewer: Viewer) -> None:
        """A page was closed. What nobody looks at is forgotten, because it grows old unseen."""
        self._viewers.discard(viewer)
        if not self._viewers:
            self.present.clear()
            self._absent.set()
            self._blocks.clear()

    async def deserted(self) -> None:
        """Wait until nobody has looked for a while; who comes back soon finds all as it was."""
        while True:
            await self._absent.wait()
            await asyncio.sleep(LINGER_S)
            if not self._viewers:
                return

    def watch(self, viewer: Viewer, symbol: str) -> None:
        """From now on `viewer` is sent what concerns `symbol`, beginning with what is known."""
        first = not viewer.symbol
        viewer.symbol = symbol
        for (_, of), block in self._blocks.items():
            if of == symbol or (first and not of):
                viewer.tell(block.data)
        self.on_watch(symbol)

    def log_out(self, session: str) -> None:
        """End what was opened with a login."""
        for viewer in self._viewers:
            if viewer.session == session:
                viewer.close(Close.LOGIN)

    def end(self) -> None:
        """The server stops."""
        for viewer in self._viewers:
            viewer.close(Close.GOING_AWAY)

    def show(self, message: Message) -> None:
        """Send a block; if it is the same as before, only that it still is."""
        tag, symbol = _tag(message), getattr(message, "symbol", "")
        known = self._blocks.get((tag, symbol))
        ts_ms: int = getattr(message, "ts_ms", 0)
        data = _encode(message)
        self._blocks[tag, symbol] = _Block(message, data)
        if known is not None and msgspec.structs.replace(known.message, ts_ms=ts_ms) == message:
            if getattr(known.message, "ts_ms", 0) == ts_ms:
                return
            data = _encode(Fresh(block=tag, symbol=symbol, ts_ms=ts_ms))
        self._tell(symbol, data)

    def tell(self, message: Message) -> None:
        """Send something that is no block: it happens once."""
        self._tell(getattr(message, "symbol", ""), _encode(message))

    def _tell(self, symbol: str, data: bytes) -> None:
        for viewer in self._of(symbol):
            viewer.tell(data)

    def _of(self, symbol: str) -> Iterator[Viewer]:
        # One that watches nothing yet is sent all blocks when it does.
        return (v for v in self._viewers if v.symbol and (not symbol or v.symbol == symbol))


def _tag(message: Message) -> str:
    tag = type(message).__struct_config__.tag
    assert isinstance(tag, str)
    return tag
