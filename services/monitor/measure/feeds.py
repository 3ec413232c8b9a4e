"""The collector's feeds, gaps and spool, as it tells of them, and the age of what it publishes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp
import msgspec
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from aggr_server.wire import CHANNEL, FORCED_ORDERS_ONLY
from services.core.service import sleep_or_stop
from services.monitor.measure.board import Unreadable
from services.monitor.readings import Reading

EVERY_S = 10.0
TIMEOUT_S = 5.0
SUBJECT = "aggr-server"
FORGET_S = 3600.0
"""A collector that has been silent for this long, while another speaks, was taken away."""

SILENT_S = 15.0
"""After this long without a message the subscription is made anew: its connection may be dead."""

RETRY_S = 0.5
RETRY_CAP_S = 10.0
WAIT_S = 1.0


class _Head(msgspec.Struct):
    """What is read of a bars message."""

    collector: str
    published_ms: int


_head = msgspec.json.Decoder(_Head)


class Bars:
    """Listens to the bars, of which it remembers only when they were published.

    `redis` waits for messages, its reads must have time; `asked` is asked whether Redis answers.
    """

    def __init__(
        self,
        redis: Redis,
        asked: Redis,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        *,
        silent_s: float = SILENT_S,
    ) -> None:
        self._redis = redis
        self._asked = asked
        self._silent_s = silent_s
        self._now_ms = now_ms
        self._published_ms: dict[str, int] = {}
        self._since_ms = 0
        self._problem = "not subscribed yet"

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until `stop` is set; Redis being away ends nothing."""
        delay_s = RETRY_S
        while not stop.is_set():
            try:
                await self._listen(stop)
            except RedisError as error:
                self._problem = str(error) or type(error).__name__
                delay_s = RETRY_S if self._since_ms else min(RETRY_CAP_S, delay_s * 2)
                self._since_ms = 0
                await sleep_or_stop(stop, delay_s * random.uniform(0.5, 1.0))

    async def readings(self) -> list[Reading]:
        """Raises `Unreadable` while Redis is away: nothing is known of the bars then."""
        try:
            await self._asked.ping()
        except RedisError as error:
            raise Unreadable(str(error) or type(error).__name__) from error
        if not self._since_ms:
            raise Unreadable(self._problem)
        return ages(self._published_ms, self._since_ms, self._now_ms())

    async def _listen(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, or for as long as messages come."""
        async with self._redis.pubsub() as subscriber:
            await subscriber.subscribe(CHANNEL)
            # Begun anew after a silence, it has been listened to all the time.
            self._since_ms = self._since_ms or self._now_ms()
            heard_s = time.monotonic()
            while not stop.is_set() and time.monotonic() - heard_s < self._silent_s:
                message = await subscriber.get_message(
                    ignore_subscribe_messages=True, timeout=WAIT_S
                )
                if message is None:
                    continue
                heard_s = time.monotonic()
                try:
                    head = _head.decode(message["data"])
                except msgspec.MsgspecError as error:
                    raise RedisConnectionError(f"{CHANNEL}: {error}") from error
                self._published_ms[head.collector] = head.published_ms


def ages(published_ms: dict[str, int], since_ms: int, now_ms: int) -> list[Reading]:
    """Seconds since the newest message of each collector, at least as long as one has listened.

    A collector that fell silent before is known from before; without any, the collector as such is
    told with the time for which nothing was heard.
    """
    newest = max(published_ms.values(), default=0)
    for name in [n for n, ms in published_ms.items() if newest - ms > FORGET_S * 1000]:
        del published_ms[name]
    if not published_ms:
        silent_s = (now_ms - since_ms) / 1000
        detail = "none was heard since the monitor listens"
        return [Reading(name="bars_age_s", subject=SUBJECT, value=silent_s, detail=detail)]
    return [
        Reading(name="bars_age_s", subject=name, value=max(0.0, (now_ms - ms) / 1000))
        for name, ms in sorted(published_ms.items())
    ]


class Collector:
    """Asks aggr-server for `/health` and `/markets`."""

    def __init__(self, url: str, session: Callable[[], aiohttp.ClientSession]) -> None:
        self._url = url.rstrip("/")
        self._session = session

    async def readings(self) -> list[Reading]:
        """Raises `Unreadable`."""
        health = await self._get("/health")
        markets = await self._get("/markets")
        try:
            return [*of_feeds(health), *of_spool(health), *of_gaps(markets, time.time())]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise Unreadable(f"{self._url}: answer not understood: {error!r}") from error

    async def _get(self, path: str) -> Any:
        try:
            # It answers 503 with the same document while something is wrong.
            async with self._session().get(self._url + path) as response:
                return msgspec.json.decode(await response.read())
        except (aiohttp.ClientError, msgspec.DecodeError) as error:
            raise Unreadable(f"{self._url}{path}: {error or type(error).__name__}") from error


def of_feeds(health: Any) -> list[Reading]:
    """One flag for each connection; `detail` says what is wrong with it and what it carries."""
    found = []
    for feed in health["feeds"]:
        down = feed["state"] != "live"
        carries = ", ".join(feed["markets"][:3]) + (" ..." if len(feed["markets"]) > 3 else "")
        error = f": {feed['last_error']}" if feed["last_error"] else ""
        found.append(
            Reading(
                name="feed_down",
                subject=feed["feed"],
                value=float(down),
                detail=f"{feed['state']}{error}; carries {carries}" if down else "",
            )
        )
    return found


def of_spool(health: Any) -> list[Reading]:
    """How full the spool is with what InfluxDB has not taken, and whether it can be written."""
    spool = health["spool"]
    waiting, limit, trouble = spool["waiting_bytes"], spool["max_bytes"], spool["trouble"]
    return [
        Reading(
            name="spool_used_percent",
            subject=SUBJECT,
            value=100.0 * waiting / limit,
            detail=f"{spool['waiting_s']} s of bars wait for InfluxDB, "
            f"{waiting / 1e6:.1f} of {limit / 1e6:.0f} MB",
        ),
        Reading(
            name="spool_unwritable", subject=SUBJECT, value=float(bool(trouble)), detail=trouble
        ),
    ]


def of_gaps(markets: Iterable[Any], now_s: float) -> list[Reading]:
    """Every market whose trades are not complete at present, and for how long. `now_s`: UTC."""
    found = []
    for market in markets:
        if not market["gap_open"] or market["state"] == "refused":
            continue
        # An open gap is told anew each second, so it is the one that ends last.
        gaps = [gap for gap in market["gaps_24h"] if gap["reason"] != FORCED_ORDERS_ONLY]
        if not gaps:
            continue
        gap = max(gaps, key=lambda gap: gap["to_s"])
        found.append(
            Reading(
                name="market_gap_open_s",
                subject=market["market"],
                value=max(0.0, now_s - gap["from_s"]),
                detail=f"{gap['reason']}; the connection is {market['state']}",
            )
        )
    return found
