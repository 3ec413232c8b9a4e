"""What a killed runner had published but InfluxDB not taken yet, its successor records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient, InfluxUnavailable
from aggr_server.settings import Connections
from services.core import names
from tests.integration.trading.harness import Runner, Tape, store
from tests.integration.trading.test_continuity import SIGNAL_AT
from tests.waiting import eventually

KEY = names.unrecorded("BTCUSDT")


async def refuse(*_: Any, **__: Any) -> None:
    raise InfluxUnavailable("connection refused")


async def test_a_signal_is_recorded_though_its_runner_was_killed_while_influxdb_was_away(
    connections: Connections,
    redis: Redis,
    influx: InfluxClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 20
    await store(influx, tape, 0, SIGNAL_AT + 20)
    first, second = Runner(connections, tape, tmp_path), Runner(connections, tape, tmp_path)

    first, second = Runner(connections, tape, tmp_path), Runner(connections, tape, tmp_path)

    async def recorded() -> list[dict[str, Any]]:
        query = f"SELECT signal_id, decision FROM {names.SIGNALS_MEASUREMENT}"
        return await influx.query(query, epoch="ms")

    await first.start(begin)
    monkeypatch.setattr(first.app.influx, "write", refuse)
    i = await first.play(begin + 1, len(tape), lambda: first.btc.signal is not None)
    signal = await first.until_shown()
    await first.kill()
    assert signal is not None
    assert await redis.hlen(KEY) == 1
    assert await recorded() == []

    await second.start(i)
    rows = await eventually(recorded, 20.0)
    assert [row["signal_id"] for row in rows] == [signal.signal_id]
    assert len(rows[0]["decision"]) > 100
    await second.publish(i + 1)

    async def forgotten() -> bool:
        return not await redis.exists(KEY)

    await eventually(forgotten, 20.0)
    await second.stop()
    await first.close()
    await second.close()
