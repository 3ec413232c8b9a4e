"""How far our clock is from the venues': asked, not taken from anyone's word for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import aiohttp
import msgspec

from aggr_server.gateway import through_gateway
from services.monitor.measure.board import Unreadable
from services.monitor.readings import Reading

SAMPLES = 5
EVERY_S = 300.0
SAMPLE_TIMEOUT_S = 3.0
TIMEOUT_S = 20.0
REFUSALS = (403, 418, 429, 451)
REFUSED_S = 3600.0
"""A venue that answers so is not asked again for this long."""


class Sample(msgspec.Struct, frozen=True):
    """One question. `offset_ms`: our clock minus the venue's, right to within half of
    `round_trip_ms`."""

    offset_ms: float
    round_trip_ms: float


class _Refused(Exception):
    """The venue does not want to be asked."""


class Venue(msgspec.Struct, frozen=True):
    """Where a venue tells its time, and how to find it in the answer, in ms, UTC."""

    name: str
    url: str
    time_ms: Callable[[Any], float]


VENUES = (
    # {"serverTime": 1499827319559}
    Venue("BINANCE", "https://api.binance.com/api/v3/time", lambda a: float(a["serverTime"])),
    Venue("BINANCE_FUTURES", "https://fapi.binance.com/fapi/v1/time",
          lambda a: float(a["serverTime"])),
    # {"result": {"timeSecond": "1688639403", "timeNano": "1688639403423213947"}}
    Venue("BYBIT", "https://api.bybit.com/v5/market/time",
          lambda a: int(a["result"]["timeNano"]) / 1e6),
    # {"data": [{"ts": "1597026383085"}]}
    Venue("OKX", "https://www.okx.com/api/v5/public/time", lambda a: float(a["data"][0]["ts"])),
    # {"iso": "2015-01-07T23:47:25.201Z", "epoch": 1420674445.201}
    Venue("COINBASE", "https://api.exchange.coinbase.com/time", lambda a: 1000 * float(a["epoch"])),
)  # fmt: skip


class Clock:
    """Asks each venue several times, one after the other over one connection."""

    def __init__(
        self,
        gateway: str,
        venues: Sequence[Venue] = VENUES,
        *,
        now_ms: Callable[[], float] = lambda: time.time_ns() / 1e6,
        samples: int = SAMPLES,
    ) -> None:
        self._gateway = gateway
        self._venues = tuple(venues)
        self._now_ms = now_ms
        self._samples = samples
        self._not_before: dict[str, float] = {}

    async def readings(self) -> list[Reading]:
        """Raises `Unreadable` if no venue answers."""
        now_s = time.monotonic()
        asked = [v for v in self._venues if self._not_before.get(v.name, 0.0) <= now_s]
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=SAMPLE_TIMEOUT_S)
        ) as session:
            answers = await asyncio.gather(*(self._ask(session, venue) for venue in asked))
        best = {
            venue.name: sample
            for venue, samples in zip(asked, answers, strict=True)
            if (sample := nearest(samples)) is not None
        }
        if not best:
            raise Unreadable("no venue tells its time")
        return [of_venues(best)]

    async def _ask(self, session: aiohttp.ClientSession, venue: Venue) -> list[Sample]:
        samples: list[Sample] = []
        for _ in range(self._samples):
            try:
                sample = await self._sample(session, venue)
            except _Refused:
                self._not_before[venue.name] = time.monotonic() + REFUSED_S
                break
            except (aiohttp.ClientError, OSError, LookupError, TypeError, ValueError):
                break  # away, or what it says is no time
            if sample is not None:
                samples.append(sample)
        return samples

    async def _sample(self, session: aiohttp.ClientSession, venue: Venue) -> Sample | None:
        url = through_gateway(venue.url, self._gateway)
        sent_ms, start = self._now_ms(), time.perf_counter()
        async with session.get(url) as response:
            took_ms = (time.perf_counter() - start) * 1000
            body = await response.read()
            if response.status in REFUSALS:
                raise _Refused
            if response.status != 200:
                raise ValueError(f"{url} answered {response.status}")
        stepped_ms = self._now_ms() - sent_ms
        if abs(stepped_ms - (time.perf_counter() - start) * 1000) > took_ms:
            return None  # our clock was set meanwhile
        theirs_ms = venue.time_ms(msgspec.json.decode(body))
        return Sample(offset_ms=sent_ms + took_ms / 2 - theirs_ms, round_trip_ms=took_ms)


def nearest(samples: Sequence[Sample]) -> Sample | None:
    """The sample that was under way for the shortest time: no other can be as exact."""
    return min(samples, key=lambda sample: sample.round_trip_ms, default=None)


def of_venues(best: Mapping[str, Sample]) -> Reading:
    """The median of the venues; `detail` names each, with how exact it is."""
    detail = ", ".join(
        f"{name} {sample.offset_ms:+.0f} ms (to {sample.round_trip_ms / 2:.0f})"
        for name, sample in best.items()
    )
    offset_ms = median(sample.offset_ms for sample in best.values())
    return Reading(name="clock_offset_ms", subject="host", value=offset_ms, detail=detail)
