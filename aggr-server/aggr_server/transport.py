"""Websockets behind a small interface: one connection, its frames as bytes, why it ended."""

from __future__ import annotations

import asyncio
import email
import re
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from logging import CRITICAL, getLogger
from typing import Protocol, cast

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)

from aggr_server import clock

CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
PING_EVERY_S = 20.0
"""Silence after which a ping asks whether the other side is still there."""
PONG_WITHIN_S = 10.0
MAX_FRAME_BYTES = 16 * 1024 * 1024
READ_BYTES = 64 * 1024
"""Read in one go: what it holds is handled before other tasks get a turn."""
_HANG_UP_S = 0.2
_BUFFER_BYTES = READ_BYTES * 3 // 2
_MAX_CONTROL_BYTES = 125
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3})\b")
_NO_HEADERS: Mapping[str, str] = {}

# What the library would log is told to the caller, who knows which feed it is about.
_library_log = getLogger(f"{__name__}.picows")
_library_log.setLevel(CRITICAL)


class Disconnected(Exception):
    """The connection ended. `clean`: everything sent before the end has been received."""

    def __init__(self, reason: str, *, clean: bool) -> None:
        super().__init__(reason)
        self.clean = clean


class Refused(Exception):
    """The connection could not be made. `status`: HTTP status, 0 if there was no answer."""

    def __init__(self, reason: str, *, status: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after_s = retry_after_s


class Socket(Protocol):
    """An open websocket."""

    async def send(self, text: str) -> None:
        """Send a text frame. Raises `Disconnected`."""

    async def receive_all(self, on_frame: Callable[[bytes], int], batch: int) -> None:
        """Hand every message to `on_frame` until the end; raises `Disconnected` then.

        `on_frame` returns how many trades it handled; after `batch` of them, at the end of what
        was read in one go, other tasks get a turn. What it raises ends the reception and is
        raised here.
        """

    async def close(self) -> None:
        """Close the connection."""


class Connector(Protocol):
    """Opens websockets."""

    async def connect(self, url: str, headers: Mapping[str, str] = _NO_HEADERS) -> Socket:
        """Open a websocket; `headers` go with the opening request. Raises `Refused`."""


class PicowsConnector:
    """Websockets by picows, certificates checked against those the machine trusts."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls

    async def connect(self, url: str, headers: Mapping[str, str] = _NO_HEADERS) -> Socket:
        if self._tls is None and url.startswith("wss:"):
            self._tls = ssl.create_default_context()
        opening = asyncio.create_task(self._open(url, headers))
        try:
            async with clock.timeout(CONNECT_TIMEOUT_S):
                transport, listener = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The library would leave its socket open: let it finish, then close.
            opening.add_done_callback(_hang_up)
            await asyncio.wait((opening,), timeout=_HANG_UP_S)
            raise
        except WSHandshakeError as error:
            raise _refusal(error) from error
        except TimeoutError as error:
            opening.add_done_callback(_hang_up)
            raise Refused(f"no answer within {CONNECT_TIMEOUT_S:.0f} s") from error
        except (WSError, OSError) as error:
            raise Refused(str(error) or type(error).__name__) from error
        if not isinstance(listener, _Listener):
            raise Refused("the connection was closed before it was answered")
        return _PicowsSocket(transport, listener)

    async def _open(self, url: str, headers: Mapping[str, str]) -> tuple[WSTransport, WSListener]:
        return await ws_connect(
            _Listener,
            url,
            ssl_context=self._tls,
            # Frees the socket when the time to connect is over; it is never the shorter one.
            websocket_handshake_timeout=CONNECT_TIMEOUT_S,
            logger_name=_library_log,
            max_frame_size=MAX_FRAME_BYTES,
            extra_headers={"User-Agent": "squeezeflow-aggr-server", **headers},
            max_redirects=0,
            read_buffer_init_size=_BUFFER_BYTES,
            use_aiofastnet=False,
        )


def _hang_up(opening: asyncio.Task[tuple[WSTransport, WSListener]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].disconnect(graceful=False)


def _refusal(error: WSHandshakeError) -> Refused:
    head, _, _ = (error.raw_header or b"").partition(b"\r\n\r\n")
    first_line, _, rest = head.partition(b"\r\n")
    found = _STATUS.match(first_line)
    if found is None or found[1] == b"101":
        return Refused(str(error))
    headers = dict(email.message_from_bytes(rest).items())
    return Refused(
        f"HTTP {found[1].decode()}",
        status=int(found[1]),
        retry_after_s=retry_after_s({name.title(): text for name, text in headers.items()}),
    )


class _Listener(WSListener):
    """Puts frames together and hands messages on, until the first error or the end."""

    def __init__(self) -> None:
        self.on_message: Callable[[bytes], int] = self._keep
        self.early: list[bytes] = []
        self.taken = 0
        self.heard = False
        self.ended = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.error: Exception | None = None
        self._parts: bytearray | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        # Until somebody receives; what has arrived together with the answer is kept.
        transport.underlying_transport.pause_reading()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # Asking for the type costs more than the length, which control frames have little of.
        if frame.payload_size > _MAX_CONTROL_BYTES and frame.fin and self._parts is None:
            try:
                self.taken += self.on_message(frame.get_payload_as_bytes()) or 1
            except Exception as error:  # noqa: BLE001
                self.end(error)  # receive_all raises it
        else:
            self._assemble(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.writable.set()
        self.ended.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def end(self, error: Exception) -> None:
        """Hand nothing on any more; `error` is the reason, unless there was one before."""
        if self.error is None and not self.ended.is_set():
            self.error = error
        self.on_message = _drop
        self._parts = None
        self.ended.set()

    def _hand_on(self, message: bytes) -> None:
        try:
            self.taken += self.on_message(message) or 1
        except Exception as error:  # noqa: BLE001
            self.end(error)  # receive_all raises it

    def _keep(self, message: bytes) -> int:
        self.early.append(message)
        return 0

    def _assemble(self, transport: WSTransport, frame: WSFrame) -> None:
        kind, payload = frame.msg_type, frame.get_payload_as_bytes()
        if kind is WSMsgType.CLOSE:
            text = f"{frame.get_close_code():d} {frame.get_close_reason() or ''}".strip()
            self.end(Disconnected(f"closed by the exchange, code {text}", clean=True))
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        elif kind in (WSMsgType.PING, WSMsgType.PONG):
            return
        elif (kind is WSMsgType.CONTINUATION) is (self._parts is None):
            self.end(Disconnected("frames of two messages are mixed", clean=False))
        elif self._parts is None and frame.fin:
            self._hand_on(payload)
        else:
            self._extend(payload, frame.fin)

    def _extend(self, payload: bytes, fin: bool) -> None:
        parts = self._parts if self._parts is not None else bytearray()
        parts += payload
        if len(parts) > MAX_FRAME_BYTES:
            megabytes = MAX_FRAME_BYTES // 2**20
            self.end(Disconnected(f"message of more than {megabytes} MB", clean=False))
            return
        self._parts = None if fin else parts
        if fin:
            self._hand_on(bytes(parts))


def _drop(message: bytes) -> int:
    return 0


class _Reader(asyncio.BufferedProtocol):
    """Takes the library's place at the transport: it reads in small parts and takes turns.

    The library's own buffer grows with every read that fills it and is handled in one go, so that
    a flood would keep all other tasks waiting.
    """

    def __init__(self, transport: asyncio.Transport, listener: _Listener, batch: int) -> None:
        self.reason = ""
        self._inner = cast(asyncio.BufferedProtocol, transport.get_protocol())
        self._transport = transport
        self._listener = listener
        self._batch = batch
        self._call_soon = asyncio.get_running_loop().call_soon

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._inner.get_buffer(sizehint))[:READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        self._inner.buffer_updated(nbytes)
        listener = self._listener
        listener.heard = True
        if listener.taken >= self._batch:
            listener.taken = 0
            if not self._transport.is_closing():
                self._transport.pause_reading()
                self._call_soon(self.resume)

    def resume(self) -> None:
        """Read on."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reason = str(exc) if exc else ""
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


class _PicowsSocket:
    def __init__(self, transport: WSTransport, listener: _Listener) -> None:
        self._transport = transport
        self._listener = listener

    async def send(self, text: str) -> None:
        self._check()
        self._transport.send(WSMsgType.TEXT, text)
        await self._listener.writable.wait()
        self._check()

    def _check(self) -> None:
        if self._listener.ended.is_set() or self._transport.is_disconnected:
            raise Disconnected("the connection has ended", clean=False)

    async def receive_all(self, on_frame: Callable[[bytes], int], batch: int) -> None:
        listener, plain = self._listener, self._transport.underlying_transport
        reader = _Reader(plain, listener, batch)
        early, listener.early = listener.early, []
        listener.on_message = on_frame
        for message in early:
            on_frame(message)
        if not plain.is_closing():
            plain.set_protocol(reader)
        reader.resume()
        await self._stay_alive()
        if listener.error is not None:
            raise listener.error
        try:
            await self._transport.wait_disconnected()
        except WSError as error:
            raise Disconnected(str(error), clean=False) from error
        reason = reader.reason or "connection closed without a closing handshake"
        raise Disconnected(reason, clean=False)

    async def _stay_alive(self) -> None:
        """Return at the end of the connection, which is also when a ping finds no answer."""
        listener = self._listener
        while not await self._ended_within(PING_EVERY_S):
            if not listener.heard:
                self._transport.send_ping()
                if not await self._ended_within(PONG_WITHIN_S) and not listener.heard:
                    text = f"no answer to a ping within {PONG_WITHIN_S:.0f} s"
                    listener.end(Disconnected(text, clean=False))
            listener.heard = False

    async def _ended_within(self, seconds: float) -> bool:
        try:
            async with clock.timeout(seconds):
                await self._listener.ended.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        self._listener.end(Disconnected("closed", clean=True))
        self._transport.send_close(WSCloseCode.OK)
        self._transport.disconnect()
        with suppress(WSError):
            try:
                async with clock.timeout(CLOSE_TIMEOUT_S):
                    await self._transport.wait_disconnected()
            except TimeoutError:
                self._transport.disconnect(graceful=False)


def retry_after_s(headers: Mapping[str, str] | None) -> float:
    """Seconds a server asks to wait; 0 if it does not."""
    text = (headers or {}).get("Retry-After", "").strip()
    try:
        return max(0.0, float(text)) if text else 0.0
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - clock.now_ms() / 1000)
    except ValueError:
        return 0.0


def explain_status(status: int) -> str:
    """What an HTTP status of an exchange means for the operator; empty if nothing special."""
    if status == 451:
        return "this exchange does not serve your location; take it out of AGGR_EXCHANGES"
    if status == 403:
        return "this address is blocked, for its location or for too many requests"
    if status in (418, 429):
        return "too many requests from this address"
    return ""
