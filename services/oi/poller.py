"""One venue asked again and again, whatever the others do."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from logging import getLogger
from typing import Protocol

from aggr_server import clock
from aggr_server.log import kv
from services.core.service import sleep_or_stop
from services.oi.book import Book
from services.oi.venues import Found, VenueError

POLL_TIMEOUT_S = 60.0
BACKOFF_CAP_S = 300.0
LEAST_WAIT_S = 1.0
REPEAT_WARNING_S = 600.0
TOLERATED_S = 900.0
"""For how long a venue may be at fault before the service calls itself degraded."""

_log = getLogger(__name__)


class Source(Protocol):
    """A venue; `VenueClient` is one. `interval_s`: how often asking it is worth while."""

    name: str
    interval_s: int

    async def poll(self, bases: Sequence[str]) -> Found:
        """What it says now. Raises `VenueError`."""
        ...


class Poller:
    """Asks one venue for the current bases at its own interval, at least `least_s`.

    What comes goes into `book`, and `announce` is called.

    After errors it waits a random time up to a doubling limit (full jitter), at most five minutes,
    and never less than the venue asks for. `problem`: what is wrong with it now, or empty.
    """

    def __init__(
        self,
        source: Source,
        book: Book,
        bases: Callable[[], Sequence[str]],
        announce: Callable[[], Awaitable[None]],
        least_s: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = source.name
        self.problem = ""
        self.polls = 0
        self._source = source
        self._book = book
        self._bases = bases
        self._announce = announce
        self._interval_s = max(float(source.interval_s), least_s)
        self._monotonic = monotonic
        self._failures = 0
        self._at_fault_since: float | None = None
        self._warned = -REPEAT_WARNING_S
        self._due = self._monotonic()

    @property
    def overdue_s(self) -> float:
        """Seconds since its turn should have ended; positive only if it hangs for good."""
        return self._monotonic() - self._due - 2 * POLL_TIMEOUT_S

    @property
    def lasting_problem(self) -> str:
        """What has been wrong for more than a quarter of an hour, or empty."""
        since = self._at_fault_since
        if since is None or self._monotonic() - since < TOLERATED_S:
            return ""
        return f"{self.name}: {self.problem}"

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until `stop` is set."""
        while True:
            wait_s = await self.turn()
            self._due = self._monotonic() + wait_s
            if await sleep_or_stop(stop, wait_s):
                return

    async def turn(self) -> float:
        """Poll once; the seconds to wait before the next time."""
        began = self._monotonic()
        retry_after_s = 0.0
        try:
            async with asyncio.timeout(POLL_TIMEOUT_S):
                found = await self._source.poll(self._bases())
        except VenueError as error:
            self._book.fail(self.name)
            problem, retry_after_s, failed = str(error), error.retry_after_s, True
        except TimeoutError:
            self._book.fail(self.name)
            problem, failed = f"no answer within {POLL_TIMEOUT_S:g} s", True
        else:
            problems = self._book.take(self.name, found, clock.now_ms())
            problem = "; ".join(f"{base}: {text}" for base, text in sorted(problems.items()))
            failed = bool(found.problems) and not found.contracts
            await self._announce()
        self.polls += 1
        self._note(problem)
        took_s = self._monotonic() - began
        self._failures = self._failures + 1 if failed else 0
        return self._wait_s(took_s, retry_after_s)

    def _wait_s(self, took_s: float, retry_after_s: float) -> float:
        if not self._failures:
            return max(LEAST_WAIT_S, self._interval_s - took_s)
        limit_s = min(BACKOFF_CAP_S, self._interval_s * 2.0 ** min(self._failures, 10))
        return max(LEAST_WAIT_S, random.uniform(0.0, limit_s), retry_after_s)

    def _note(self, problem: str) -> None:
        now = self._monotonic()
        if problem:
            self._at_fault_since = self._at_fault_since or now
            if now - self._warned >= REPEAT_WARNING_S:
                self._warned = now
                remedy = "if it lasts, leave the venue out of OI_EXCHANGES"
                _log.warning(
                    "open interest incomplete %s",
                    kv(source=self.name, error=problem, remedy=remedy),
                )
        elif self.problem:
            self._at_fault_since = None
            self._warned = -REPEAT_WARNING_S
            _log.info("open interest complete again %s", kv(source=self.name))
        self.problem = problem
