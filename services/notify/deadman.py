"""Tells an address outside this machine that the monitor works; silence raises the alarm there."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from logging import getLogger

import aiohttp

from aggr_server.log import kv
from services.core.rounds import Work
from services.core.settings import SystemMonitorSettings
from services.notify.channels import redacted, secrets_of
from services.notify.notices import clock

TIMEOUT_S = 10.0
FIRST_DELAY_S = 2.0
LONGEST_DELAY_S = 20.0
FRESH_S = 45.0
"""A round that ended longer ago proves nothing, unless rounds are further apart than that."""

_log = getLogger(__name__)


class NotHeard(Exception):
    """A call has not been taken; the text says why and holds no secret."""


class DeadMan:
    """Calls `DEADMAN_URL` each interval, but only while rounds of the monitor come to their end.

    A call that fails is made again within the interval, with growing, jittered delay. The URL
    holds a token and is never shown.
    """

    def __init__(
        self,
        settings: SystemMonitorSettings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = settings.deadman_url
        self._secrets = secrets_of(self._url)
        self._interval_s = float(settings.deadman_interval_s)
        self._fresh_s = max(FRESH_S, 2.0 * settings.monitor_interval_s)
        self._monotonic = monotonic
        self._turned_s: float | None = None
        self._news = asyncio.Event()
        self._since_ms = 0
        self._reason = ""

    @property
    def problem(self) -> str:
        """What is wrong, for the heartbeat; empty if nothing is, or nothing is set."""
        if not self._reason:
            return ""
        return f"the dead-man address was not reached since {clock(self._since_ms)}: {self._reason}"

    def turned(self) -> None:
        """A round has come to its end."""
        self._turned_s = self._monotonic()
        self._news.set()

    @property
    def alive(self) -> bool:
        """Whether the rounds turn."""
        return self._turned_s is not None and self._monotonic() - self._turned_s < self._fresh_s

    async def run(self, stop: asyncio.Event) -> None:
        """Call until `stop` is set. Without an address it does nothing."""
        if not self._url:
            await stop.wait()
            return
        calling = asyncio.create_task(self._calls())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({calling, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if calling.done():
                calling.result()
        finally:
            stopping.cancel()
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)

    async def _calls(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                self._news.clear()
                if not self.alive:
                    await self._news.wait()
                    continue
                due_s = self._monotonic() + self._interval_s
                await self._call_until(session, due_s)
                await asyncio.sleep(max(0.0, due_s - self._monotonic()))

    async def _call_until(self, session: aiohttp.ClientSession, due_s: float) -> None:
        """One call that is heard, or tries until the next is due or the rounds stand still."""
        delay_s = FIRST_DELAY_S
        while self.alive:
            try:
                await self._call(session)
            except NotHeard as error:
                self._failed(str(error))
            else:
                self._heard()
                return
            wait_s = delay_s * random.uniform(0.5, 1.0)
            delay_s = min(LONGEST_DELAY_S, delay_s * 2)
            if self._monotonic() + wait_s >= due_s:
                return
            await asyncio.sleep(wait_s)

    async def _call(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(self._url) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            reason = str(error) or f"no answer within {TIMEOUT_S:g} s"
            raise NotHeard(redacted(reason, self._secrets)) from None
        if not 200 <= status < 300:
            raise NotHeard(f"it answers {status}")

    def _failed(self, reason: str) -> None:
        if not self._reason:
            self._since_ms = time.time_ns() // 1_000_000
            remedy = "check DEADMAN_URL and whether this host reaches the internet"
            _log.warning("dead-man address not reached %s", kv(reason=reason, remedy=remedy))
        self._reason = reason

    def _heard(self) -> None:
        if self._reason:
            _log.info("dead-man address reached again")
        self._reason = ""


class Watched:
    """The monitor's work, each ended round of which the dead-man hears of."""

    def __init__(self, work: Work, deadman: DeadMan) -> None:
        self._work = work
        self._deadman = deadman

    @property
    def status(self) -> str:
        """See `Work`."""
        problems = [self._work.status, self._deadman.problem]
        return "; ".join(p for p in problems if p not in ("", "ok")) or "ok"

    async def round(self) -> None:
        """See `Work`."""
        await self._work.round()
        self._deadman.turned()
