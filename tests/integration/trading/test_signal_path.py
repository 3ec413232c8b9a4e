"""From bars in InfluxDB and on the channel to a signal, its fill, its exit and its outcome."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.core.records import Signal
from services.strategy.types import State
from tests.integration.trading.harness import eventually, live
from tests.unit.strategy.scenarios import LEAD_S

SIGNAL_AT = LEAD_S + 2773
EXIT_AT = LEAD_S + 3239


async def outcomes(influx: InfluxClient) -> list[dict[str, object]]:
    return await influx.query(f"SELECT * FROM {names.SIGNALS_MEASUREMENT}")


async def test_squeeze_becomes_signal_trade_exit_and_outcome(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    begin = SIGNAL_AT - 30
    async with live(connections, influx, tmp_path, begin) as runner:
        assert runner.btc.engine.state is State.DIVERGENCE

        i = await runner.play(
            begin + 1, SIGNAL_AT + 60, until=lambda: runner.btc.signal is not None
        )
        assert i - 1 == SIGNAL_AT
        signal = await runner.until_shown()
        assert signal is not None
        assert (signal.action, signal.leverage, signal.position_size_factor) == ("SHORT", 2, 0.5)
        assert signal.score == pytest.approx(4.87, abs=0.01)
        assert signal.bar_published_ms == signal.ts_ms
        assert signal.fence > 0
        history = await redis.lrange(names.history("BTCUSDT"), 0, -1)
        assert [msgspec.json.decode(h, type=Signal).signal_id for h in history] == [
            signal.signal_id
        ]

        await runner.fill("opened", signal)
        await runner.fill("opened", signal)
        await eventually(lambda: runner.btc.engine.state is State.IN_POSITION)
        await runner.until_shown(False)
        assert await redis.exists(names.trade_baseline(1))

        i = await runner.play(i, EXIT_AT + 60, until=lambda: runner.btc.signal is not None)
        assert i - 1 == pytest.approx(EXIT_AT, abs=5)
        close = await runner.until_shown()
        assert close is not None
        assert (close.action, close.parent_signal_id, close.trade_id) == (
            "CLOSE",
            signal.signal_id,
            1,
        )
        assert close.exit_reason == "FLOW_REVERSAL"

        await runner.fill("closed", signal, pnl=1.5, pnl_ratio=0.015, reason="sf_flow_reversal")
        await eventually(lambda: runner.btc.engine.state is State.COOLDOWN)
        await runner.until_shown(False)
    await check_records(redis, influx, signal, close)


async def check_records(redis: Redis, influx: InfluxClient, signal: Signal, close: Signal) -> None:
    points = {point["signal_id"]: point for point in await outcomes(influx)}
    assert len(await outcomes(influx)) == 2
    assert points[signal.signal_id]["outcome"] == "profitable"
    assert points[signal.signal_id]["exit_reason"] == "FLOW_REVERSAL"
    assert points[signal.signal_id]["pnl"] == 1.5
    assert "G" in str(points[signal.signal_id]["decision"])
    assert points[close.signal_id]["outcome"] == "profitable"
    assert await redis.get(names.stat("signals_published")) == b"2"
    pending = await redis.xpending(names.FILLS_STREAM, names.FILLS_GROUP)
    assert pending["pending"] == 0
    assert not await redis.exists(names.trade_baseline(1))
