"""Fills and alerts for one channel, from streams in Redis that remember what it has not told yet.

Each channel is a consumer group of its own: one that cannot be reached waits alone, and what it
has not acknowledged comes again after a restart.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from logging import getLogger
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from aggr_server.log import kv
from services.core import names
from services.core.records import Alert, Fill
from services.core.transaction import Command, transact
from services.notify.notices import Notice, of_alert, of_fill
from services.notify.planner import OLD_MS

STREAMS = (names.FILLS_STREAM, names.ALERTS_STREAM)
CONSUMER = "system-monitor"
GROUP_PREFIX = "notify:"
BLOCK_MS = 5_000
BATCH = 100
REMEMBERED = 2_000

Entry = tuple[str, str]
"""Stream and id."""

_log = getLogger(__name__)


class Inbox:
    """What a channel has to tell, each event once, and what it has told.

    `identity`: of the channel. `redis`: with a time-out well over `BLOCK_MS`.
    """

    def __init__(self, redis: Redis, identity: str) -> None:
        self._redis = redis
        self._group = f"{GROUP_PREFIX}{identity}"
        self._told_key = names.notified(identity)
        self._told: OrderedDict[str, None] = OrderedDict()
        # Entries behind each key that was handed out and is not told yet.
        self._open: dict[str, list[Entry]] = {}
        self._done: dict[str, list[Entry]] = {}
        self._useless: list[Entry] = []

    async def open(self) -> None:
        """Take up the work where it was left. Raises `RedisError`.

        A channel that is new begins with what happened in the last ten minutes.
        """
        told: Any = await self._redis.zrange(self._told_key, 0, -1)
        for key in told:
            self._told.setdefault(key.decode())
        since = f"{time.time_ns() // 1_000_000 - OLD_MS}-0"
        for stream in STREAMS:
            try:
                await self._redis.xgroup_create(stream, self._group, id=since, mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def read(self) -> AsyncIterator[Notice | None]:
        """Notices without end, first those of entries that were read but not acknowledged.

        None stands for an entry that is gone from its stream. Raises `RedisError`; after that,
        what was handed out before does not come again.
        """
        for stream in STREAMS:
            last = "0"
            while entries := (await self._entries({stream: last})).get(stream, []):
                for notice in self._take(stream, entries):
                    yield notice
                last = entries[-1][0].decode()
        while True:
            for stream, entries in (await self._entries(dict.fromkeys(STREAMS, ">"))).items():
                for notice in self._take(stream, entries):
                    yield notice
            await self.settle()

    def begin(self, notice: Notice) -> bool:
        """Whether a notice that came by another way is new; it is then handed out."""
        if notice.key in self._told or notice.key in self._open:
            return False
        self._open[notice.key] = []
        return True

    def tell(self, notices: Iterable[Notice]) -> None:
        """They have reached the operator or never need to; `settle` makes that known to Redis."""
        for notice in notices:
            self._done[notice.key] = self._open.pop(notice.key, [])
            self._told[notice.key] = None
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    async def settle(self) -> None:
        """Acknowledge what is told. Raises `RedisError`; then nothing of it is forgotten."""
        done, self._done = self._done, {}
        useless, self._useless = self._useless, []
        if not done and not useless:
            return
        entries = [*useless, *(entry for found in done.values() for entry in found)]
        try:
            await transact(self._redis, list(self._commands(list(done), entries)))
        except BaseException:
            self._done = {**done, **self._done}
            self._useless = [*useless, *self._useless]
            raise

    def _commands(self, keys: list[str], entries: list[Entry]) -> Iterable[Command]:
        for stream in STREAMS:
            if ids := [entry for name, entry in entries if name == stream]:
                yield ("XACK", stream, self._group, *ids)
        if keys:
            now_ms = time.time_ns() // 1_000_000
            yield ("ZADD", self._told_key, *(word for key in keys for word in (now_ms, key)))
            yield ("ZREMRANGEBYRANK", self._told_key, 0, -REMEMBERED - 1)
            yield ("EXPIRE", self._told_key, names.DAY_S)

    async def _entries(self, positions: dict[Any, Any]) -> dict[str, list[tuple[bytes, Any]]]:
        answer: Any = await self._redis.xreadgroup(
            self._group, CONSUMER, positions, count=BATCH, block=BLOCK_MS
        )
        return {stream.decode(): entries for stream, entries in answer or ()}

    def _take(self, stream: str, entries: list[tuple[bytes, Any]]) -> Iterable[Notice | None]:
        known = {entry for found in self._open.values() for entry in found}
        for raw_id, fields in entries:
            entry = (stream, raw_id.decode())
            if entry in known:
                continue
            if not fields:
                self._useless.append(entry)
                yield None
                continue
            notice = _decode(stream, fields)
            if notice is None:
                _log.error("entry not readable, skipped %s", kv(stream=stream, id=entry[1]))
                self._useless.append(entry)
            elif notice.key in self._told:
                self._useless.append(entry)
            elif notice.key in self._open:
                self._open[notice.key].append(entry)
            else:
                self._open[notice.key] = [entry]
                yield notice


async def forget_others(redis: Redis, identities: Iterable[str]) -> None:
    """Remove the groups of channels that are no longer set up. Raises `RedisError`."""
    kept = {f"{GROUP_PREFIX}{identity}" for identity in identities}
    for stream in STREAMS:
        if not await redis.exists(stream):
            continue
        for group in await redis.xinfo_groups(stream):
            name = group["name"].decode()
            if name.startswith(GROUP_PREFIX) and name not in kept:
                await redis.xgroup_destroy(stream, name)


def _decode(stream: str, fields: dict[bytes, bytes]) -> Notice | None:
    data = fields.get(b"data", b"")
    try:
        if stream == names.FILLS_STREAM:
            return of_fill(msgspec.json.decode(data, type=Fill))
        return of_alert(msgspec.json.decode(data, type=Alert))
    except msgspec.MsgspecError:
        return None
