"""Throws the kill switch and asks the executor whether it has seen it."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from redis import Redis

from services.core import halt, names
from services.core.halt import NEVER_SET
from services.core.records import Halt, Heartbeat

EXECUTOR = "freqtrade"
POLL_S = 0.05


class KillSwitch:
    """The switch in `redis` (which answers bytes). All methods raise `RedisError`."""

    def __init__(
        self, redis: Redis, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._redis = redis
        self._now_ms = now_ms

    def read(self) -> Halt:
        """As it stands now."""
        raw = self._redis.get(names.HALT)
        return halt.decode(raw, self._now_ms()) if isinstance(raw, bytes) else NEVER_SET

    def throw(self, *, halted: bool, by: str, reason: str) -> Halt:
        """Set it, and wake the executor. The new record is newer than any that is known."""
        known_ms = max(self.read().ts_ms, self._confirmed_ms() or 0)
        record = Halt(halted=halted, ts_ms=max(self._now_ms(), known_ms + 1), by=by, reason=reason)
        data = msgspec.json.encode(record)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(names.HALT, data)
            pipe.publish(names.SIGNALS_CHANNEL, data)
            pipe.execute()
        return record

    def is_seen(self, record: Halt) -> bool:
        """Whether the executor says that it goes by this record, or a newer one."""
        confirmed_ms = self._confirmed_ms()
        return confirmed_ms is not None and confirmed_ms >= record.ts_ms

    def await_seen(self, record: Halt, timeout_s: float) -> bool:
        """Wait until it says so; False if it does not in time."""
        deadline = time.monotonic() + timeout_s
        while not self.is_seen(record):
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _confirmed_ms(self) -> int | None:
        raw = self._redis.get(names.heartbeat(EXECUTOR))
        if not isinstance(raw, bytes):
            return None
        try:
            seen = msgspec.json.decode(raw, type=Heartbeat).details.get("halt_ts_ms")
        except msgspec.DecodeError:
            return None
        return seen if isinstance(seen, int) else None
