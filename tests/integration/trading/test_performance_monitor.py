from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.core.settings import ServiceSettings
from services.performance_monitor import PerformanceMonitor


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
