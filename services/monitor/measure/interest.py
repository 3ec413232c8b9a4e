"""Open interest: venues that oi-tracker cannot read, as its heartbeat tells."""

from __future__ import annotations

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.core import names
from services.core.records import Heartbeat
from services.monitor.measure.board import Unreadable
from services.monitor.readings import Reading

EVERY_S = 15.0
SERVICE = "oi-tracker"


class OpenInterest:
    """Reads the heartbeat of oi-tracker."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def readings(self) -> list[Reading]:
        """Raises `Unreadable`."""
        try:
            raw = await self._redis.get(names.heartbeat(SERVICE))
            if raw is None:
                raise Unreadable(f"{SERVICE} gives no sign of life")
            return failing(msgspec.json.decode(raw, type=Heartbeat))
        except (RedisError, msgspec.MsgspecError) as error:
            raise Unreadable(str(error) or type(error).__name__) from error


def failing(beat: Heartbeat) -> list[Reading]:
    """A reading for each venue in the heartbeat's `failing`, venue -> reason.

    Raises `msgspec.ValidationError` if that is something else.
    """
    told = msgspec.convert(beat.details.get("failing", {}), dict[str, str])
    return [
        Reading(name="oi_venue_failing", subject=venue, value=1.0, detail=reason)
        for venue, reason in sorted(told.items())
    ]
