"""The venues' pollers, the recorder of what they bring, and what the heartbeat says of both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from services.core.outage import Outage
from services.core.rounds import Stuck
from services.oi.bases import Bases
from services.oi.book import Book
from services.oi.poller import Poller, Source
from services.oi.recorder import Recorder

FIRST_SUM_S = 30.0
"""How long the first sums wait for venues that have not answered yet."""

LAST_WORDS_S = 5.0


class Tracker:
    """Asks every source at its own pace; a round of `round` stores and publishes what is new."""

    def __init__(
        self,
        limit: Sequence[str],
        sources: Sequence[Source],
        redis: Redis,
        influx: InfluxClient,
        *,
        interval_s: float,
        outage: Outage,
    ) -> None:
        self.book = Book(source.name for source in sources)
        self._bases = Bases(limit)
        self._recorder = Recorder(self.book, self._bases, redis, influx, outage, interval_s)
        self.pollers = [
            Poller(
                source, self.book, lambda: self._bases.current, self._recorder.announce, interval_s
            )
            for source in sources
        ]
        self._began = time.monotonic()

    @property
    def status(self) -> str:
        """`ok`, or what is wrong, for the heartbeat: of venues only what lasts."""
        problems = [poller.lasting_problem for poller in self.pollers]
        return "; ".join(filter(None, [*problems, self._recorder.problem])) or "ok"

    @property
    def details(self) -> dict[str, object]:
        """Figures for the heartbeat. `failing`: venue -> what is wrong with it now."""
        return {
            "samples": self.book.samples,
            "bases": len(self._bases.current),
            "venues": len(self.pollers),
            "failing": {p.name: p.problem[:200] for p in self.pollers if p.problem},
            "held": [
                f"{base} {name}" for base, held in self.book.held.items() for name in sorted(held)
            ],
        }

    async def remember(self) -> None:
        """Begin with what an earlier run left in Redis."""
        await self._recorder.remember()

    async def round(self) -> None:
        """Store and publish what is new. Raises `Stuck` if a venue's poller hangs."""
        for poller in self.pollers:
            if poller.overdue_s > 0:
                raise Stuck(f"the poller of {poller.name} is {poller.overdue_s:.0f} s overdue")
        answered = all(poller.polls for poller in self.pollers)
        await self._recorder.record(sums=answered or time.monotonic() - self._began >= FIRST_SUM_S)

    async def finish(self) -> None:
        """Store and publish what came last, as far as that goes quickly."""
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._recorder.record(sums=False)
        except TimeoutError:
            return
