"""One heartbeat of all replicas together."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import msgspec
from redis.asyncio import Redis

from services.core import names
from services.core.records import Heartbeat
from services.core.service import Pulse
from services.core.settings import ServiceSettings
from services.trading.leases import Leases


class ReplicaPulse(Pulse):
    """Tells of this replica, and of the service as a whole: what all replicas told last.

    The service is well if every replica is and every symbol has a leader.
    """

    def __init__(
        self, service: str, settings: ServiceSettings, redis: Redis | None, leases: Leases
    ) -> None:
        super().__init__(service, settings, redis)
        self._all = names.heartbeats(service)
        self._leases = leases

    async def _tell(self, redis: Redis, record: bytes) -> None:
        own = msgspec.json.decode(record, type=Heartbeat)
        async with redis.pipeline(transaction=True) as pipe:
            pipe.hset(self._all, self._leases.owner, record)
            pipe.expire(self._all, names.DAY_S)
            pipe.hgetall(self._all)
            *_, known = await pipe.execute()
        beats = {name.decode(): msgspec.json.decode(r, type=Heartbeat) for name, r in known.items()}
        oldest_ms = time.time_ns() // 1_000_000 - names.HEARTBEAT_TTL_S * 1000
        silent = [name for name, beat in beats.items() if beat.ts_ms < oldest_ms]
        for name in silent:
            del beats[name]
        await super()._tell(redis, msgspec.json.encode(together(own, beats, self._leases)))
        if silent:
            await redis.hdel(self._all, *silent)


def together(own: Heartbeat, beats: dict[str, Heartbeat], leases: Leases) -> Heartbeat:
    """The heartbeat of the service. `beats`: replica -> its own, none too old."""
    ordered = sorted(beats.values(), key=lambda beat: beat.ts_ms)
    leading = [beat.details for beat in ordered if beat.details.get("states")]
    details = _merged(leading or [own.details])
    details["replicas"] = {
        name: sorted(beat.details.get("states", {})) for name, beat in sorted(beats.items())
    }
    return msgspec.structs.replace(
        own,
        cycle_ms=max((beat.cycle_ms for beat in ordered), default=own.cycle_ms),
        status=_status(own, beats, leases.shares.unled),
        details=details,
    )


def _status(own: Heartbeat, beats: dict[str, Heartbeat], unled: tuple[str, ...]) -> str:
    troubled = {name: beat.status for name, beat in sorted(beats.items()) if beat.status != "ok"}
    if len(beats) > 1 and troubled:
        return "; ".join(f"{name}: {status}" for name, status in troubled.items())
    if own.status != "ok":
        return own.status
    return f"no replica leads {', '.join(unled)}" if unled else "ok"


def _merged(values: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Per key: the worst of flags, the largest number, the union of what is keyed by symbol."""
    merged: dict[str, Any] = {}
    for details in values:
        for key, value in details.items():
            before = merged.get(key)
            if isinstance(value, dict) and isinstance(before, dict):
                merged[key] = _merged((before, value))
            elif isinstance(value, bool) and isinstance(before, bool):
                merged[key] = before and value
            elif isinstance(value, int | float) and isinstance(before, int | float):
                merged[key] = max(before, value)
            elif value is not None:
                merged[key] = value
            else:
                merged.setdefault(key, None)
    return merged
