"""oi-tracker as a process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from services.core import names
from tests.integration.children import bare
from tests.integration.oi_venues import eventually, serving
from tests.integration.servers import ROOT


def tracker_env(connection_env: dict[str, str], **more: str) -> dict[str, str]:
    return {
        **bare(),
        "PYTHONPATH": f"{ROOT}:{ROOT}/aggr-server",
        **connection_env,
        **more,
    }


async def test_the_service_samples_beats_and_ends_in_good_order(
    connection_env: dict[str, str], redis: Redis, tmp_path: Path
) -> None:
    async with serving() as venues:
        await sampled(venues.url, connection_env, redis, tmp_path)


async def sampled(
    gateway: str, connection_env: dict[str, str], redis: Redis, tmp_path: Path
) -> None:
    environ = tracker_env(
        connection_env,
        HEARTBEAT_DIR=str(tmp_path),
        EXCHANGE_GATEWAY=gateway,
        AGGR_SYMBOLS="BTC",
        OI_EXCHANGES="BYBIT,OKEX",
    )
    async with redis.pubsub() as subscriber:
        await subscriber.subscribe(names.OI_CHANNEL)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.oi_tracker", env=environ
        )
        try:
            async with asyncio.timeout(60):
                async for message in subscriber.listen():
                    if message["type"] == "message":
                        break
            await eventually(lambda: redis.exists(names.open_interest_total("BTC")))
            assert await redis.exists(names.heartbeat("oi-tracker"))
            assert (tmp_path / "oi-tracker.alive").exists()
        finally:
            process.terminate()
            assert await process.wait() == 0


@pytest.mark.parametrize(
    ("name", "value"), [("OI_EXCHANGES", "BYBIT,NOWHERE"), ("AGGR_SYMBOLS", "BTC,eth!")]
)
def test_an_unknown_venue_or_symbol_is_one_clear_line(
    name: str, value: str, connection_env: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.oi_tracker"],
        env=tracker_env(connection_env, **{name: value}),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 78
    problems = [line for line in done.stderr.splitlines() if "level=INFO" not in line]
    assert len(problems) == 1, done.stderr
    assert name in problems[0]
    assert ".env" in problems[0]
