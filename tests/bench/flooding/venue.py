"""A venue in a process of its own that floods its subscribers; commands come on standard input.

`python -m tests.bench.flooding.venue SHAPE MARKETS CLOCK` prints its port; CLOCK as in the setting
SIMULATED_CLOCK. `flood TRADES RATE` sends that many trades, RATE a second of real time, and prints,
when all have been received, how many were sent.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
import time
from typing import cast

import numpy as np
import uvloop

from aggr_server import clock
from tests.bench.flooding.shapes import FIRST_ID, SHAPES, Frames, Shape, framed

BURST_S = 0.005
BLOCKS = 8
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE, _PING, _PONG = 8, 9, 10


class Flood:
    """All subscribers, and what they are sent."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.clients: list[Client] = []

    async def run(self, trades: int, rate: float) -> int:
        """Send `trades` at `rate` a second; how many were sent."""
        clients = [client for client in self.clients if client.coins]
        markets = sum(len(client.coins) for client in clients)
        await asyncio.gather(
            *(c.flood(trades * len(c.coins) // markets, rate * len(c.coins) / markets)
              for c in clients)
        )  # fmt: skip
        return sum(client.take_sent() for client in clients)


class Client(asyncio.Protocol):
    """One connection: a REST request, or a websocket."""

    def __init__(self, flood: Flood) -> None:
        self.coins: list[str] = []
        self._flood = flood
        self._data = b""
        self._open = False
        self._sent = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._received = asyncio.Event()
        self._prepared: tuple[int, list[Frames]] = (0, [])
        self._next_ids = np.zeros(0, np.int64)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._flood.clients:
            self._flood.clients.remove(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._data += data
        while not self._open and b"\r\n\r\n" in self._data:
            head, _, self._data = self._data.partition(b"\r\n\r\n")
            self._answer(head)
        while self._open and (found := _unmasked(self._data)):
            opcode, payload, self._data = found
            self._on_frame(opcode, payload)

    def _answer(self, head: bytes) -> None:
        first, *rest = head.decode().split("\r\n")
        headers = {name.lower(): text.strip() for name, _, text in (h.partition(":") for h in rest)}
        if key := headers.get("sec-websocket-key"):
            accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
            self._transport.write(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
            )
            self._open = True
            self._flood.clients.append(self)
            return
        body = self._flood.shape.answer(first.split(" ")[1])
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    def _on_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == _PONG and payload == b"all":
            self._received.set()
        elif opcode == _PING:
            self._transport.write(framed(payload, _PONG))
        elif opcode == _CLOSE:
            self._transport.close()
        elif opcode in (1, 2):
            coins, texts = self._flood.shape.confirmed(payload)
            self.coins += coins
            for text in texts:
                self._transport.write(framed(text.encode()))

    def take_sent(self) -> int:
        """Trades sent since it was asked last."""
        sent, self._sent = self._sent, 0
        return sent

    async def flood(self, trades: int, rate: float) -> None:
        """Send trades in bursts, never more at a time than the other side takes."""
        blocks = self._blocks(max(1, round(rate * BURST_S)))
        due = time.monotonic()
        while self._sent < trades:
            block = blocks[self._sent // blocks[0].count % len(blocks)]
            self._transport.write(block.stamp(clock.now_ms(), self._next_ids))
            self._sent += block.count
            await self._writable.wait()
            due = max(due + block.count / rate, time.monotonic() - BURST_S)
            await asyncio.sleep(due - time.monotonic())
        self._received.clear()
        self._transport.write(framed(b"all", _PING))
        await self._received.wait()

    def _blocks(self, size: int) -> list[Frames]:
        if self._prepared[0] != size:
            shape = self._flood.shape
            blocks = [Frames(shape, self.coins, size, seed) for seed in range(BLOCKS)]
            self._prepared = (size, blocks)
        if not len(self._next_ids):
            self._next_ids = np.full(len(self.coins), FIRST_ID, np.int64)
        return self._prepared[1]


def _unmasked(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Opcode, payload and what follows; None if the frame is not whole."""
    if len(data) < 6:
        return None
    length, start = data[1] & 0x7F, 2
    if length >= 126:
        size = 2 if length == 126 else 8
        length, start = int.from_bytes(data[2 : 2 + size], "big"), 2 + size
    end = start + 4 + length
    if len(data) < end:
        return None
    mask = data[start : start + 4] * (length // 4 + 1)
    payload = bytes(a ^ b for a, b in zip(data[start + 4 : end], mask, strict=False))
    return data[0] & 0x0F, payload, data[end:]


async def _serve(shape: Shape) -> None:
    loop = asyncio.get_running_loop()
    flood = Flood(shape)
    server = await loop.create_server(lambda: Client(flood), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        _, trades, rate = line.split()
        print(await flood.run(int(trades), float(rate)), flush=True)


if __name__ == "__main__":
    clock.adjust(sys.argv[3])
    uvloop.run(_serve(SHAPES[sys.argv[1]](int(sys.argv[2]))))
