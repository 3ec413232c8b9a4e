"""Sends what happens to the operator, over every channel apart from the others."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from logging import getLogger

from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.log import kv
from services.core.outage import Outage
from services.core.records import Alert
from services.core.service import sleep_or_stop
from services.core.settings import SystemMonitorSettings
from services.notify import quiet
from services.notify.channels import Channel, NotSent
from services.notify.inbox import Inbox, forget_others
from services.notify.notices import RANK, Notice, clock, of_alert
from services.notify.planner import Message, Planner

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
TICK_S = 1.0
PARTING_S = 5.0
CANCEL_AGAIN_S = 0.5

_log = getLogger(__name__)


class Notifier:
    """Trades and alerts to all channels. Without channels it does nothing.

    Raises `SettingsError` if the quiet hours are none.
    """

    def __init__(
        self,
        settings: SystemMonitorSettings,
        redis: Redis,
        channels: Sequence[Channel],
        outage: Outage,
    ) -> None:
        hours = quiet.parse(settings.notify_quiet_hours)
        # Nobody must take a simulated market for the real one.
        mark = "Demo: " if settings.exchange_gateway else ""
        self._redis = redis
        self._couriers = [
            Courier(
                channel,
                Inbox(redis, channel.identity),
                Planner(settings.notify_max_per_minute, hours),
                RANK[settings.notify_level],
                outage,
                mark,
            )
            for channel in channels
        ]

    def tell(self, alert: Alert) -> None:
        """An alert raised in this process: told even while Redis is away, and only once."""
        notice = of_alert(alert)
        for courier in self._couriers:
            courier.tell(notice)

    @property
    def problem(self) -> str:
        """What is wrong, for the heartbeat; empty if nothing."""
        failing = [c.channel.label for c in self._couriers if c.failure]
        return f"no messages through {', '.join(failing)}" if failing else ""

    @property
    def details(self) -> dict[str, str]:
        """Channel -> `ok`, or since when it fails and why."""
        return {c.channel.label: c.failure or "ok" for c in self._couriers}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish the message that is on its way."""
        if not self._couriers:
            await stop.wait()
            return
        async with asyncio.TaskGroup() as tasks:
            tidying = tasks.create_task(self._forget_others())
            running = [tasks.create_task(c.run(stop)) for c in self._couriers]
            await asyncio.wait(running)
            tidying.cancel()

    async def _forget_others(self) -> None:
        try:
            await forget_others(self._redis, [c.channel.identity for c in self._couriers])
        except RedisError as error:
            _log.debug("groups of former channels stay %s", kv(error=error))


class Courier:
    """One channel: reads what there is to tell, and tells it until that has worked.

    `rank`: of the lowest level of alerts it tells. `mark`: stands in front of every title.
    """

    def __init__(
        self,
        channel: Channel,
        inbox: Inbox,
        planner: Planner,
        rank: int,
        outage: Outage,
        mark: str = "",
    ) -> None:
        self.channel = channel
        self.failure = ""
        self._inbox = inbox
        self._planner = planner
        self._rank = rank
        self._outage = outage
        self._mark = mark
        self._news = asyncio.Event()
        self._attempts = 0
        self._since_ms = 0

    def tell(self, notice: Notice) -> None:
        """A notice that did not come by way of Redis, or not yet."""
        if self._inbox.begin(notice):
            self._plan(notice)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        reading = asyncio.create_task(self._read())
        reading.add_done_callback(lambda _: self._news.set())
        try:
            while not stop.is_set() and not reading.done():
                await self._turn(stop)
        finally:
            # The Redis library may lose a cancellation.
            while not reading.done():
                reading.cancel()
                await asyncio.wait({reading}, timeout=CANCEL_AGAIN_S)
            self.channel.close()
        if not reading.cancelled():
            reading.result()

    async def _read(self) -> None:
        delay_s = FIRST_DELAY_S
        while True:
            try:
                await self._inbox.open()
                async for notice in self._inbox.read():
                    delay_s = FIRST_DELAY_S
                    if notice is None:
                        self._planner.lost()
                        self._news.set()
                    else:
                        self._plan(notice)
            except RedisError as error:
                self._outage.failed(error)
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(LONGEST_DELAY_S, delay_s * 2)

    def _plan(self, notice: Notice) -> None:
        if notice.kind in ("alert", "over") and RANK[notice.level] < self._rank:
            self._inbox.tell([notice])
            return
        if (left_out := self._planner.add(notice)) is not None:
            self._inbox.tell([left_out])
        self._news.set()

    async def _turn(self, stop: asyncio.Event) -> None:
        """Send one message, or wait until there may be one."""
        self._news.clear()
        message = self._planner.next(_now_ms())
        if message is None:
            await self._settle()
            await self._wait(stop)
            return
        try:
            if not await self._deliver(message, stop):
                return
        except NotSent as error:
            self._failed(str(error))
            delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(self._attempts - 1, 10))
            await sleep_or_stop(stop, delay_s * random.uniform(0.5, 1.0))
            return
        self._sent(message)
        await self._settle()

    async def _deliver(self, message: Message, stop: asyncio.Event) -> bool:
        """Send; False if that has not ended a while after `stop` was set. Raises `NotSent`."""
        marked = replace(message, title=f"{self._mark}{message.title}")
        sending = asyncio.create_task(self.channel.send(marked))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                await asyncio.wait({sending}, timeout=PARTING_S)
            if sending.done():
                sending.result()
            return sending.done()
        finally:
            stopping.cancel()
            sending.cancel()

    async def _wait(self, stop: asyncio.Event) -> None:
        """Until something new comes; if something is planned already, a second at most."""
        waiting = [asyncio.create_task(stop.wait()), asyncio.create_task(self._news.wait())]
        limit_s = TICK_S if len(self._planner) else None
        await asyncio.wait(waiting, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()

    def _sent(self, message: Message) -> None:
        self._planner.sent(message, _now_ms())
        self._inbox.tell(message.notices)
        if self.failure:
            _log.info("messages arrive again %s", kv(channel=self.channel.label))
        self.failure, self._attempts = "", 0

    def _failed(self, reason: str) -> None:
        self._attempts += 1
        if self._attempts == 1:
            self._since_ms = _now_ms()
            _log.warning(
                "messages do not arrive, trying on %s",
                kv(channel=self.channel.label, reason=reason),
            )
        self.failure = f"failing since {clock(self._since_ms)}, {self._attempts} tries: {reason}"

    async def _settle(self) -> None:
        try:
            await self._inbox.settle()
        except RedisError as error:
            self._outage.failed(error)
        else:
            self._outage.over()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
