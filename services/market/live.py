"""Follows the collectors over Redis; while Redis is away, follows what they write to InfluxDB."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Sequence
from logging import getLogger
from typing import Any

import msgspec
from redis.asyncio import Redis

from aggr_server.influx import InfluxError, InfluxUnavailable
from aggr_server.log import kv
from aggr_server.wire import CHANNEL, Market, decode
from services.core.channels import Channels
from services.core.names import OI_CHANNEL
from services.core.outage import Outage
from services.core.records import OpenInterest
from services.market.assemble import KEEP_S, Assembler, Span
from services.market.bars import ClosedBars
from services.market.history import History

POLL_S = 1.0
DATABASE_LAG_S = 3
"""What the collectors have published is in InfluxDB this much later at the latest."""

SILENT_MS = 2500
"""A channel without a message for this long is taken for dead, and InfluxDB followed."""

HOLD_MS = 2000
"""Seconds that are being read back are waited for this long."""

GAPS_S = 86_400
"""Gaps begun this long before may still go on, or may have been filled meanwhile."""

RETRY_CAP_S = 5.0
MAX_SPANS = 64

_log = getLogger(__name__)


class BarFeed:
    """Closed seconds of all markets, each once and in order.

    `on_arrival` is told of every message with bars, and how many ms it was under way. Its `parts`
    must be running. A hole in a collector's sequence, or a time
    without Redis, is read back from InfluxDB.
    """

    def __init__(
        self,
        redis: Redis,
        history: History,
        assembler: Assembler,
        markets: Callable[[], Sequence[Market]],
        on_open_interest: Callable[[OpenInterest], None],
        now_ms: Callable[[], int],
        *,
        redis_outage: Outage,
        influx_outage: Outage,
    ) -> None:
        self._influx_outage = influx_outage
        self._channels = Channels(
            redis,
            {CHANNEL: self._on_bars, OI_CHANNEL: self._on_sample},
            redis_outage,
            self._on_subscribed,
            self._on_lost,
        )
        self._history = history
        self._assembler = assembler
        self._markets = markets
        self._on_open_interest = on_open_interest
        self._now_ms = now_ms
        self._news = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._spans: asyncio.Queue[Span] = asyncio.Queue(MAX_SPANS)
        self._complete_to = 0
        self._last_message_ms = 0
        self._hold_until_ms = 0
        self._unreadable = 0
        self.on_arrival: Callable[[float], None] = lambda bus_ms: None

    @property
    def live(self) -> bool:
        """Whether bars come over the channel, as opposed to out of InfluxDB."""
        silent_ms = self._now_ms() - self._last_message_ms
        return self._subscribed.is_set() and silent_ms < SILENT_MS

    @property
    def late_bars(self) -> int:
        """Bars that came after their second; their volume went into the next one."""
        return self._assembler.late_bars

    @property
    def lost_bars(self) -> int:
        """Bars that came too late even for that."""
        return self._assembler.lost_bars

    def parts(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What has to run for `closed` to return; whatever is away is tried again for ever."""
        return (self._channels.run, self._follow_influx, self._read_back)

    async def subscribed(self, timeout_s: float) -> bool:
        """Wait until the channel is subscribed; False if that takes longer."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._subscribed.wait()
        except TimeoutError:
            return False
        return True

    async def closed(self, limit: int = 100, wait_s: float = 1.0) -> list[ClosedBars]:
        """Wait for the next closed seconds; at most `limit`, none after `wait_s` without any."""
        give_up = asyncio.get_running_loop().time() + wait_s
        while (left_s := give_up - asyncio.get_running_loop().time()) > 0:
            self._news.clear()
            now_ms, live = self._now_ms(), self.live
            wake_ms = self._hold_until_ms
            if now_ms >= wake_ms:
                ready = self._assembler.take(
                    now_ms if live else 0, complete_to=self._complete_to, limit=limit
                )
                if ready:
                    return ready
                wake_ms = (self._assembler.due_ms() or 0) if live else 0
            # With neither to wait for, the poll of InfluxDB gives the news.
            timeout_s = max(0.001, (wake_ms - now_ms) / 1000) if wake_ms else left_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(timeout_s, left_s)):
                    await self._news.wait()
        return []

    def _on_subscribed(self) -> None:
        _log.info("bars channel subscribed %s", kv(channel=CHANNEL))
        self._subscribed.set()
        self._last_message_ms = self._now_ms()
        if (next_t := self._assembler.next_t) is not None:
            self._request(Span(next_t - DATABASE_LAG_S, self._now_ms() // 1000))
        self._news.set()

    def _on_lost(self) -> None:
        _log.warning("bars channel lost, following InfluxDB instead")
        self._subscribed.clear()
        self._news.set()

    def _on_sample(self, data: bytes) -> None:
        try:
            sample = msgspec.json.decode(data, type=OpenInterest)
        except msgspec.MsgspecError as error:
            self._not_readable(OI_CHANNEL, error)
            return
        self._on_open_interest(sample)

    def _on_bars(self, data: bytes) -> None:
        try:
            message = decode(data)
        except msgspec.MsgspecError as error:
            self._not_readable(CHANNEL, error)
            return
        self._last_message_ms = self._now_ms()
        if message.bars:
            self.on_arrival(self._last_message_ms - message.published_ms)
        if (missed := self._assembler.offer(message)) is not None:
            _log.warning(
                "messages missed, reading back %s",
                kv(collector=message.collector, from_s=missed.from_s, to_s=missed.to_s),
            )
            self._request(missed)
        self._news.set()

    def _not_readable(self, channel: str, error: msgspec.MsgspecError) -> None:
        self._unreadable += 1
        if self._unreadable & (self._unreadable - 1) == 0:  # 1st, 2nd, 4th, 8th, ...
            _log.warning(
                "message not readable %s",
                kv(channel=channel, count=self._unreadable, error=error),
            )

    def _request(self, span: Span) -> None:
        if self._spans.full():
            first = self._spans.get_nowait()
            span = Span(min(first.from_s, span.from_s), max(first.to_s, span.to_s))
        self._spans.put_nowait(span)
        if span.to_s > (self._assembler.next_t or 0) + 1:
            self._hold_until_ms = self._now_ms() + HOLD_MS

    async def _read_back(self) -> None:
        while True:
            span = await self._spans.get()
            # The database lags behind the channel, so the end of the span is read a second time.
            await self._read(span)
            self._hold_until_ms = 0
            self._news.set()
            await asyncio.sleep(DATABASE_LAG_S)
            await self._read(Span(max(span.from_s, span.to_s - 60), span.to_s))

    async def _read(self, span: Span) -> None:
        delay_s = 0.5
        next_t = self._assembler.next_t or span.from_s
        from_s = max(span.from_s, next_t - KEEP_S)
        while True:
            try:
                bars = await self._history.bars(self._markets(), from_s, span.to_s)
                gaps = await self._history.gap_records(self._markets(), from_s - GAPS_S, span.to_s)
                break
            except InfluxError as error:
                _log.error("reading back refused %s", kv(from_s=from_s, error=error))
                return
            except InfluxUnavailable as error:
                self._influx_outage.failed(error)
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
                delay_s = min(RETRY_CAP_S, delay_s * 2)
        for gap in gaps:
            self._assembler.add_gap(gap)
        self._assembler.merge(bars)
        self._news.set()

    async def _follow_influx(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            next_t = self._assembler.next_t
            if self.live or next_t is None:
                continue
            to_s = self._now_ms() // 1000 - DATABASE_LAG_S
            if to_s <= next_t:
                continue
            try:
                bars = await self._history.bars(self._markets(), next_t, to_s)
                gaps = await self._history.gap_records(self._markets(), next_t - GAPS_S, to_s)
            except (InfluxError, InfluxUnavailable) as error:
                self._influx_outage.failed(error)
                continue
            self._influx_outage.over()
            if not self.live:
                for gap in gaps:
                    self._assembler.add_gap(gap)
                self._assembler.merge(bars)
                self._complete_to = to_s
                self._news.set()
