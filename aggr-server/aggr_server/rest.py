"""A venue's REST interface: paced, obedient, bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from logging import getLogger
from typing import Protocol

import aiohttp

from aggr_server import clock
from aggr_server.exchanges.base import Request
from aggr_server.gateway import through_gateway
from aggr_server.log import kv
from aggr_server.throttle import Backoff, Occasionally
from aggr_server.transport import explain_status, retry_after_s

TIMEOUT_S = 15.0
MAX_BYTES = 64 * 1024 * 1024
BLOCKED_S = 600.0
MAX_PAUSE_S = 3600.0
TOO_MANY = (418, 429)
BLOCKED = (403, 451)

_log = getLogger(__name__)


class RestFailed(Exception):
    """The venue gave no usable answer. `retry_after_s`: how long it is not to be asked again."""

    def __init__(self, reason: str, *, status: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after_s = retry_after_s


class Rest(Protocol):
    """What asks a venue."""

    async def ask(self, request: Request, *, probe: bool = False) -> bytes:
        """The body of a good answer. Raises `RestFailed`."""


class Turns:
    """Lets callers of two lanes pass at least `spacing_s` apart, in order; lanes take turns."""

    def __init__(self, spacing_s: float) -> None:
        self._spacing_s = spacing_s
        self._free_at = 0.0
        self._lanes: tuple[deque[object], deque[object]] = (deque(), deque())
        self._last = 0
        self._moved = asyncio.Event()

    async def turn(self, lane: int) -> None:
        """Wait for one's turn in `lane`, 0 or 1."""
        me = object()
        self._lanes[lane].append(me)
        try:
            while True:
                wait_s = self._free_at - clock.monotonic()
                if wait_s > 0:
                    await clock.sleep(wait_s)
                elif self._next() is me:
                    break
                else:
                    self._moved.clear()
                    await self._moved.wait()
            self._last = lane
            self._free_at = clock.monotonic() + self._spacing_s
        finally:
            self._lanes[lane].remove(me)
            self._moved.set()

    def _next(self) -> object:
        other = self._lanes[1 - self._last]
        return other[0] if other else self._lanes[self._last][0]


class VenueRest:
    """REST of one venue, for all who ask it: their requests share its budget.

    After 418 or 429 nothing is asked until the venue allows it; after 403 or 451, which do not
    pass by themselves, every ten minutes at most. Probes and all else take turns.
    """

    def __init__(
        self, exchange: str, spacing_s: float, session: aiohttp.ClientSession, gateway: str = ""
    ) -> None:
        self.requests = 0
        self.failures = 0
        self._exchange = exchange
        self._session = session
        self._gateway = gateway
        self._turns = Turns(spacing_s)
        self._closed_until = 0.0
        self._closed_for = ""
        self._backoff = Backoff(base_s=20.0, cap_s=600.0)
        self._complain = Occasionally(300.0)

    async def ask(self, request: Request, *, probe: bool = False) -> bytes:
        self._check_open()
        await self._turns.turn(0 if probe else 1)
        self._check_open()
        self.requests += 1
        url = through_gateway(request.url, self._gateway)
        headers = {"Content-Type": "application/json"} if request.body else None
        try:
            async with (
                clock.timeout(TIMEOUT_S),
                self._session.request(
                    request.method, url, data=request.body or None, headers=headers
                ) as response,
            ):
                if response.status == 200:
                    body = await self._read(response, url)
                    self._backoff.reset()
                    return body
                raise self._refusal(url, response)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.failures += 1
            reason = str(error) or type(error).__name__
            raise RestFailed(f"{url}: {reason}") from error

    def _check_open(self) -> None:
        left_s = self._closed_until - clock.monotonic()
        if left_s > 0:
            raise RestFailed(self._closed_for, retry_after_s=left_s)

    async def _read(self, response: aiohttp.ClientResponse, url: str) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > MAX_BYTES:
                self.failures += 1
                raise RestFailed(f"{url}: answer longer than {MAX_BYTES} bytes")
            parts.append(part)
        return b"".join(parts)

    def _refusal(self, url: str, response: aiohttp.ClientResponse) -> RestFailed:
        self.failures += 1
        status = response.status
        hint = explain_status(status)
        reason = f"{url} answered {status}" + (f": {hint}" if hint else "")
        asked_s = retry_after_s(response.headers)
        if status in TOO_MANY:
            asked_s = asked_s or self._backoff.next() + 10.0
        elif status in BLOCKED:
            asked_s = max(asked_s, BLOCKED_S)
        else:
            return RestFailed(reason, status=status, retry_after_s=min(asked_s, MAX_PAUSE_S))
        asked_s = min(asked_s, MAX_PAUSE_S)
        self._closed_until, self._closed_for = clock.monotonic() + asked_s, reason
        if self._complain(str(status)):
            _log.warning(
                "exchange refuses REST %s",
                kv(exchange=self._exchange, error=reason, pause_s=round(asked_s, 1)),
            )
        return RestFailed(reason, status=status, retry_after_s=asked_s)
