"""All sources side by side: each looked at when it is due, none waiting for another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from logging import getLogger
from typing import Generic, TypeVar

import msgspec

from aggr_server.log import kv
from services.monitor.measure.catalog import FORGET_S, READINGS, STALE_S
from services.monitor.readings import Reading

PATIENCE_S = 4.5
"""How long a round waits for the sources it has begun to look at."""

SLACK_S = 0.5
"""A source is due in the round that comes nearest to its time, not only after it."""

RETRY_S = 30.0
"""A source that could not be read is not waited for longer than this, however seldom it is due."""

T = TypeVar("T")

_log = getLogger(__name__)


class Unreadable(Exception):
    """The source did not answer, or not in a way that is understood; the text says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """`read` raises `Unreadable`. `every_s`: from look to look; 0: in each round.

    `timeout_s`: a look that takes longer has failed. `name`: one of `catalog.SOURCES`.
    """

    name: str
    read: Callable[[], Awaitable[list[Reading]]]
    every_s: float = 0.0
    timeout_s: float = 4.0


@dataclass(slots=True)
class _Place:
    """What is known of a source. Times: monotonic, seconds."""

    source: Source
    began_s: float = float("-inf")
    looking: asyncio.Task[list[Reading]] | None = None
    readings: list[Reading] = field(default_factory=list)
    read_s: float = float("-inf")
    problem: str = ""
    # Key of what was wrong -> the reading, and when it was last so.
    wrong: dict[str, tuple[Reading, float]] = field(default_factory=dict)


class Board:
    """The newest readings of every source. Call `look` from one task, and `close` at the end."""

    def __init__(
        self,
        sources: Iterable[Source],
        *,
        patience_s: float = PATIENCE_S,
        monotonic: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._places = [_Place(source) for source in sources]
        self._patience_s = patience_s
        self._monotonic = monotonic
        self._now_ms = now_ms

    @property
    def problems(self) -> dict[str, str]:
        """Source -> why it cannot be read."""
        return {place.source.name: place.problem for place in self._places if place.problem}

    async def look(self) -> list[Reading]:
        """Look at what is due; all readings that are known then, with those of earlier looks.

        A source that needs longer than the patience is read by a later call. Raises what only a
        bug in a source can have raised.
        """
        begun = [task for place in self._places if (task := self._begin(place)) is not None]
        if begun:
            await asyncio.wait(begun, timeout=self._patience_s)
        for place in self._places:
            self._take(place)
        return [reading for place in self._places for reading in self._told(place)]

    async def close(self) -> None:
        """Look no more."""
        looking = [place.looking for place in self._places if place.looking is not None]
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)

    def _begin(self, place: _Place) -> asyncio.Task[list[Reading]] | None:
        now_s, every_s = self._monotonic(), place.source.every_s
        if place.problem:
            every_s = min(every_s, RETRY_S)
        if place.looking is not None or now_s - place.began_s < every_s - SLACK_S:
            return None
        place.began_s = now_s
        place.looking = asyncio.create_task(_limited(place.source))
        return place.looking

    def _take(self, place: _Place) -> None:
        if place.looking is None or not place.looking.done():
            return
        task, place.looking = place.looking, None
        try:
            found = task.result()
        except Unreadable as error:
            if not place.problem:
                _log.warning("cannot be measured %s", kv(source=place.source.name, error=error))
            place.problem = str(error)
            return
        if place.problem:
            _log.info("can be measured again %s", kv(source=place.source.name))
        place.problem, place.read_s = "", self._monotonic()
        now_ms = self._now_ms()
        place.readings = [
            reading if reading.ts_ms else msgspec.structs.replace(reading, ts_ms=now_ms)
            for reading in found
        ]
        place.readings += self._righted(place, now_ms)

    def _righted(self, place: _Place, now_ms: int) -> list[Reading]:
        """What is listed only while it is wrong, and no longer is."""
        present = {reading.key for reading in place.readings}
        for reading in place.readings:
            if READINGS[reading.name].listed:
                place.wrong[reading.key] = (reading, place.read_s)
        for key, (_, last_s) in list(place.wrong.items()):
            if place.read_s - last_s > FORGET_S:
                del place.wrong[key]
        return [
            Reading(name=reading.name, subject=reading.subject, value=0.0, ts_ms=now_ms)
            for key, (reading, _) in place.wrong.items()
            if key not in present
        ]

    def _told(self, place: _Place) -> list[Reading]:
        if place.read_s == float("-inf") and not place.problem:
            return []  # not known yet
        stale = self._monotonic() - place.read_s > max(STALE_S, 2 * place.source.every_s)
        blind = Reading(
            name="monitor_blind",
            subject=place.source.name,
            value=1.0 if place.problem else 0.0,
            detail=place.problem,
            ts_ms=self._now_ms(),
        )
        return [blind] if stale else [*place.readings, blind]


class InThread(Generic[T]):
    """A function that blocks, one call at a time: one that hangs keeps no further threads busy."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._running: asyncio.Future[T] | None = None

    async def __call__(self) -> T:
        """Its result. Raises what it raises, and `Unreadable` while an earlier call hangs."""
        if self._running is not None and not self._running.done():
            raise Unreadable("the look before hangs")
        self._running = asyncio.get_running_loop().run_in_executor(None, self._function)
        self._running.add_done_callback(_noted)
        return await asyncio.shield(self._running)


def _noted(future: asyncio.Future[T]) -> None:
    """Whoever waited may be gone: the loop must not complain of an error nobody saw."""
    if not future.cancelled():
        future.exception()


async def _limited(source: Source) -> list[Reading]:
    try:
        async with asyncio.timeout(source.timeout_s):
            return await source.read()
    except TimeoutError as error:
        raise Unreadable(f"no answer within {source.timeout_s:g} s") from error
