import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.core.records import Heartbeat
from services.core.settings import ServiceSettings
from services.influx_signal_manager import (
    InfluxSignalManager,
    line_of_fill,
    line_of_signal,
    point_key,
)
from services.performance_monitor import PerformanceMonitor
from tests.integration.trading.harness import live
from tests.unit.test_signal_validator import signal


def settings(connections: Connections) -> ServiceSettings:
    return ServiceSettings(
        **{name: getattr(connections, name) for name in connections.__struct_fields__}
    )


async def test_without_measurements_it_invents_none(connections: Connections) -> None:
    found = await PerformanceMonitor(settings(connections)).read()
    assert found["cycle"] is None
    assert found["counters"] == {}
    assert found["signals"]["total"] == 0
    assert found["signals"]["win_rate"] is None


async def test_figures_come_from_redis_and_influx(
    connections: Connections, redis: Redis, influx: InfluxClient
) -> None:
    await redis.set(names.stat("cycles"), 12)
    await redis.set(
        names.heartbeat("strategy-runner"),
        '{"service":"strategy-runner","ts_ms":1,"pid":1,"cycle_ms":0.5,"details":{"lag_ms":200}}',
    )
    await influx.write(
        [
            'strategy_signals,action=LONG,symbol=A outcome="profitable",pnl=3.0,score=6.0',
            'strategy_signals,action=LONG,symbol=B outcome="unprofitable",pnl=-1.0,score=5.0',
            'strategy_signals,action=LONG,symbol=C outcome="expired",score=4.0',
            'strategy_signals,action=CLOSE,symbol=A outcome="profitable",score=6.0',
        ]
    )
    found = await PerformanceMonitor(settings(connections)).read()
    assert found["cycle"]["lag_ms"] == 200
    assert found["counters"] == {"cycles": 12}
    assert found["signals"]["total"] == 3
    assert found["signals"]["win_rate"] == 0.5
    assert found["signals"]["pnl_sum"] == 2.0


def test_the_documented_call_prints_the_figures(connection_env: dict[str, str]) -> None:
    call = (
        "from services.performance_monitor import PerformanceMonitor\n"
        "monitor = PerformanceMonitor()\n"
        "print(monitor.get_performance_analytics())\n"
    )
    root = Path(__file__).parents[3]
    ran = subprocess.run(
        [sys.executable, "-c", call],
        env={**os.environ, **connection_env, "PYTHONPATH": f"{root}:{root / 'aggr-server'}"},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ran.stderr == ""
    found = ast.literal_eval(ran.stdout)
    assert found.keys() == {"cycle", "replicas", "stages", "signal_latency", "counters", "signals"}


async def test_stages_and_replicas_are_those_of_the_heartbeats(
    connections: Connections, redis: Redis
) -> None:
    measured = {"count": 3, "median": 0.2, "p99": 0.4, "max": 0.5}
    for key, ts_ms, status in (("strategy-runner", 1, "old"), ("strategy-runner:b", 2, "ok")):
        beat = Heartbeat(
            service="strategy-runner",
            ts_ms=ts_ms,
            pid=7,
            cycle_ms=0.3,
            status=status,
            details={
                "cycle_ms": measured,
                "stages_ms": {"aggregate": measured, "publish": measured},
                "warm": True,
            },
        )
        await redis.set(names.heartbeat(key), msgspec.json.encode(beat))
    found = await PerformanceMonitor(settings(connections)).read()
    assert found["replicas"].keys() == {"strategy-runner", "strategy-runner:b"}
    assert found["cycle"]["status"] == "ok"
    assert found["stages"] == {"cycle": measured, "aggregate": measured, "publish": measured}


async def test_latency_is_that_of_stored_signals_and_of_their_fills(
    connections: Connections, redis: Redis, influx: InfluxClient
) -> None:
    end_ms = time.time_ns() // 1_000_000 - 60_000
    sent = signal(
        ts_ms=end_ms + 210,
        refreshed_ms=end_ms + 212,
        bar_published_ms=end_ms + 205,
        cvd={"spot": 1.0, "perp": 2.0, "epoch_id": "e", "ts_ms": end_ms},
    )
    await redis.lpush(names.history("BTCUSDT"), msgspec.json.encode(sent))
    manager = InfluxSignalManager(influx)
    manager.store(line_of_signal(sent, {}))
    await manager.drain()
    manager.store(line_of_fill(point_key(sent), 1, 100.0, sent.ts_ms + 180))
    manager.finish(point_key(sent), "profitable", pnl=2.0, pnl_percentage=2.0)
    await manager.drain()
    found = await PerformanceMonitor(settings(connections)).read()
    latency = found["signal_latency"]
    assert latency["decided_after_ms"]["median"] == 210
    assert latency["published_after_ms"]["max"] == 7
    assert latency["filled_after_ms"]["p99"] == 180
    analytics = await manager.analytics(end_ms, end_ms + 60_000)
    assert analytics["by_score_tier"]["medium"]["pnl_percentage_median"] == 2.0
    assert analytics == found["signals"]


async def test_bars_that_come_late_are_counted_and_their_flow_is_not_lost(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    begin = 20_000
    async with live(connections, influx, tmp_path, begin, "S6") as runner:
        await runner.play(begin + 1, begin + 3)
        late = [
            msgspec.structs.replace(b, vbuy=b.vbuy + 5.0) for b in runner.tape.bars(begin + 2)[:1]
        ]
        before = runner.btc.engine.c_spot
        await runner.publish(begin + 3, amended=late)
        await runner.taken(begin + 3)
        own = sum(bar.vbuy - bar.vsell for bar in runner.tape.bars(begin + 3)[:2])
        assert abs(runner.btc.engine.c_spot - before - own - 5.0) < 1e-6
        details = runner.app.cycle._details()
        assert (details["late_bars"], details["lost_bars"]) == (1, 0)
