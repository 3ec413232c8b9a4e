"""The websocket of the live page."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from logging import getLogger

import msgspec
from aiohttp import WSMsgType, web

from aggr_server.log import kv
from services.dashboard.audience import Audience, Viewer
from services.dashboard.protocol import Close, Hello, Watch

HEARTBEAT_S = 20.0
"""Pings; a browser that does not answer within half of it is gone."""

GUARD_EVERY_S = 20.0
SEND_S = 15.0
MAX_MESSAGE = 1024
REASONS = {
    Close.GOING_AWAY: "the server ends",
    Close.TOO_SLOW: "messages were not taken in time",
    Close.BAD_MESSAGE: "message not understood, or no such symbol",
    Close.LOGIN: "no login",
    Close.TOO_MANY: "too many pages are open",
}

_log = getLogger(__name__)


class Live:
    """`GET /live`. `logged_in`: whether a session still holds."""

    def __init__(
        self,
        audience: Audience,
        symbols: Collection[str],
        *,
        hello: Callable[[], Hello],
        session: Callable[[web.Request], str],
        logged_in: Callable[[str], bool],
    ) -> None:
        self._audience = audience
        self._symbols = symbols
        self._hello = hello
        self._session = session
        self._logged_in = logged_in

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Send until either side ends it."""
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE, compress=False, timeout=5.0
        )
        await socket.prepare(request)
        viewer = Viewer(self._session(request))
        if not self._logged_in(viewer.session):
            viewer.close(Close.LOGIN)
        elif self._audience.full:
            viewer.close(Close.TOO_MANY)
        if viewer.end is None:
            await self._serve(socket, viewer)
        why = viewer.end or Close.GOING_AWAY
        if why is Close.TOO_SLOW:
            _log.info("page too slow, closed %s", kv(address=request.remote))
        await _close(socket, request, why)
        return socket

    async def _serve(self, socket: web.WebSocketResponse, viewer: Viewer) -> None:
        viewer.tell(msgspec.json.encode(self._hello()))
        # Before anything is read: what nobody saw is forgotten when the first one comes.
        self._audience.join(viewer)
        tasks = [
            asyncio.create_task(part)
            for part in (
                self._send(socket, viewer),
                self._read(socket, viewer),
                self._guard(viewer),
            )
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._audience.leave(viewer)
            for task in tasks:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
        for error in done:
            if isinstance(error, Exception) and not isinstance(error, ConnectionError):
                raise error

    async def _send(self, socket: web.WebSocketResponse, viewer: Viewer) -> None:
        while (data := await viewer.next()) is not None:
            try:
                async with asyncio.timeout(SEND_S):
                    await socket.send_frame(data, WSMsgType.TEXT)
            except TimeoutError:
                viewer.close(Close.TOO_SLOW)

    async def _read(self, socket: web.WebSocketResponse, viewer: Viewer) -> None:
        async for message in socket:
            symbol = ""
            if message.type is WSMsgType.TEXT:
                with contextlib.suppress(msgspec.DecodeError):
                    symbol = msgspec.json.decode(message.data, type=Watch).symbol
            if symbol not in self._symbols:
                viewer.close(Close.BAD_MESSAGE)
                return
            self._audience.watch(viewer, symbol)

    async def _guard(self, viewer: Viewer) -> None:
        """Return when the viewer is closed: its login is over, or it asks for nothing."""
        while viewer.end is None:
            try:
                async with asyncio.timeout(GUARD_EVERY_S):
                    await viewer.ended.wait()
            except TimeoutError:
                if not self._logged_in(viewer.session):
                    viewer.close(Close.LOGIN)
                elif not viewer.symbol:
                    viewer.close(Close.BAD_MESSAGE)


async def _close(socket: web.WebSocketResponse, request: web.Request, why: Close) -> None:
    """Say why; who does not listen is cut off."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(SEND_S):
            await socket.close(code=why, message=REASONS[why].encode())
    if why is Close.TOO_SLOW and request.transport is not None:
        request.transport.abort()
