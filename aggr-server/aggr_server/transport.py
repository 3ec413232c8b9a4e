"""Websockets behind a small interface, so that a faster client can take the place of this one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Protocol

import aiohttp

CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
PING_EVERY_S = 20.0
MAX_FRAME_BYTES = 16 * 1024 * 1024
_NO_HEADERS: Mapping[str, str] = {}


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
        """Hand every frame to `on_frame` until the end; raises `Disconnected` then.

        `on_frame` returns how many trades it handled; after `batch` of them other tasks get a turn.
        """

    async def close(self) -> None:
        """Close the connection."""


class Connector(Protocol):
    """Opens websockets."""

    async def connect(self, url: str, headers: Mapping[str, str] = _NO_HEADERS) -> Socket:
        """Open a websocket; `headers` go with the opening request. Raises `Refused`."""


class AiohttpConnector:
    """Websockets by aiohttp; the session is the caller's."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def connect(self, url: str, headers: Mapping[str, str] = _NO_HEADERS) -> Socket:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                websocket = await self._session.ws_connect(
                    url,
                    headers=headers,
                    heartbeat=PING_EVERY_S,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                    max_msg_size=MAX_FRAME_BYTES,
                    decode_text=False,
                )
        except aiohttp.WSServerHandshakeError as error:
            raise Refused(
                f"HTTP {error.status}",
                status=error.status,
                retry_after_s=retry_after_s(error.headers),
            ) from error
        except TimeoutError as error:
            raise Refused(f"no answer within {CONNECT_TIMEOUT_S:.0f} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Refused(str(error) or type(error).__name__) from error
        return _AiohttpSocket(websocket)


class _AiohttpSocket:
    def __init__(self, websocket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._websocket = websocket

    async def send(self, text: str) -> None:
        try:
            await self._websocket.send_str(text)
        except (aiohttp.ClientError, OSError) as error:
            raise Disconnected(str(error) or type(error).__name__, clean=False) from error

    async def receive_all(self, on_frame: Callable[[bytes], int], batch: int) -> None:
        receive = self._websocket.receive
        data_types = (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)
        taken = 0
        while True:
            message = await receive()
            if message.type not in data_types:
                break
            taken += on_frame(message.data) or 1
            if taken >= batch:
                taken = 0
                await asyncio.sleep(0)
        code = self._websocket.close_code
        if message.type is aiohttp.WSMsgType.ERROR:
            raise Disconnected(str(message.data) or "broken", clean=False)
        # 1006 means that there was no closing handshake.
        raise Disconnected(f"closed by the exchange, code {code}", clean=code not in (None, 1006))

    async def close(self) -> None:
        await self._websocket.close()


def retry_after_s(headers: Mapping[str, str] | None) -> float:
    """Seconds a server asks to wait; 0 if it does not."""
    text = (headers or {}).get("Retry-After", "").strip()
    try:
        return max(0.0, float(text)) if text else 0.0
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
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
