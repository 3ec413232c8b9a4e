"""The alerts of all services, for InfluxDB: each service puts its own on the stream in Redis."""

from __future__ import annotations

import time
from logging import getLogger
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.log import kv
from services.core import names
from services.core.records import Alert
from services.monitor.writer import alert_line

LOOK_BACK_MS = 86_400_000
BATCH = 500

_log = getLogger(__name__)


class Archive:
    """Begins with the last day: a point that is there already is written again as it was."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._last = ""

    async def lines(self) -> list[str]:
        """Points of the alerts that were not told of yet; none while Redis is away."""
        begin = f"({self._last}" if self._last else str(time.time_ns() // 1_000_000 - LOOK_BACK_MS)
        try:
            entries: Any = await self._redis.xrange(names.ALERTS_STREAM, min=begin, count=BATCH)
        except RedisError as error:
            _log.debug("alerts not read %s", kv(error=error))
            return []
        found = []
        for raw_id, fields in entries:
            self._last = raw_id.decode()
            try:
                found.append(alert_line(msgspec.json.decode(fields[b"data"], type=Alert)))
            except (KeyError, msgspec.MsgspecError) as error:
                _log.debug("entry is no alert %s", kv(id=self._last, error=error))
        return found
