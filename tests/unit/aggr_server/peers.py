"""A websocket server by hand, which can do what none should."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
Serve = Callable[["Peer"], Awaitable[None]]


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    size = len(payload)
    head = bytes([opcode | (0x80 if fin else 0)])
    if size < 126:
        return head + bytes([size]) + payload
    if size < 65536:
        return head + b"\x7e" + size.to_bytes(2, "big") + payload
    return head + b"\x7f" + size.to_bytes(8, "big") + payload


class Peer:
    """The server's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""

    async def accept(self, extra: bytes = b"") -> None:
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        key = self.head.lower().split(b"sec-websocket-key: ")[1].split(b"\r\n")[0]
        at = self.head.lower().index(key)
        digest = hashlib.sha1(
            self.head[at : at + len(key)] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        )
        self.writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest.digest()) + b"\r\n\r\n" + extra
        )

    async def send(self, *frames: bytes) -> None:
        for data in frames:
            self.writer.write(data)
            await self.writer.drain()

    async def receive(self) -> tuple[int, bytes]:
        first, second = await self.reader.readexactly(2)
        assert second & 0x80, "clients mask what they send"
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(size)
        return first & 0x0F, bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


@asynccontextmanager
async def peer(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that treats every connection by `serve`; its URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve(Peer(reader, writer))
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    scheme, port = "wss" if tls else "ws", server.sockets[0].getsockname()[1]
    try:
        yield f"{scheme}://localhost:{port}/path?a=b" if tls else f"{scheme}://127.0.0.1:{port}/p"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
