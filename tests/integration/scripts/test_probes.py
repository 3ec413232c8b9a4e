"""What a start waits for."""

from __future__ import annotations

import time

import msgspec
import pytest
from redis.asyncio import Redis

from scripts.stack.probes import probes
from services.core import names
from services.core.records import Heartbeat

HALTED = "entries are halted by the kill switch"


@pytest.mark.parametrize(
    ("status", "age_s", "says"),
    [
        ("ok", 0, ""),
        (HALTED, 0, ""),
        ("no bars yet", 0, "no bars yet"),
        ("ok", 60, "last heartbeat 60 s ago"),
    ],
)
async def test_a_strategy_is_ready_though_the_kill_switch_is_on(
    redis: Redis, redis_port: int, status: str, age_s: int, says: str
) -> None:
    beat = Heartbeat(
        service="strategy-runner",
        ts_ms=time.time_ns() // 1_000_000 - age_s * 1000,
        pid=1,
        cycle_ms=1.0,
        status=status,
        details={"halted": HALTED},
    )
    await redis.set(names.heartbeat("strategy-runner"), msgspec.json.encode(beat))
    ready = probes({"REDIS_PORT": str(redis_port)})["strategy-runner"]
    assert ready() == says
