"""Rules on trading and on what runs the services. The Docker engine alone is a stand-in."""

from __future__ import annotations

import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

import pytest
from aiohttp import web
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from services.core.points import line
from services.core.switch import KillSwitch
from services.freqtrade_client import FreqtradeClient
from services.monitor.containers import Containers as DockerContainers
from services.monitor.measure import containers as containers_measure
from services.monitor.measure.containers import Containers
from services.monitor.measure.trading import ANSWERED_WITHIN_S, Freqtrade, Signals, Switch
from services.monitor.processes import KnownProcesses
from tests.integration.monitor.engine import Engine
from tests.integration.monitor.faults import Operator, raises
from tests.integration.trading.freqtrade_double import FreqtradeDouble, trade

PAIR = "BTC/USDT:USDT"


@raises("trading_halted")
async def test_a_kill_switch_that_is_thrown(redis: Redis, redis_port: int) -> None:
    with BlockingRedis(port=redis_port) as client:
        switch = KillSwitch(client)
        operator = Operator({"halt": Switch(redis).readings}, "trading_halted")
        await operator.shows(
            "trading_halted",
            fault=lambda: switch.throw(halted=True, by="the test", reason="a look at things"),
            mend=lambda: switch.throw(halted=False, by="the test", reason=""),
        )
    assert "a look at things" in operator.told[0].text


def signal(outcome: str) -> str:
    """A signal whose time has long been over."""
    decided_ms = int((time.time() - ANSWERED_WITHIN_S - 60) * 1000) // 60_000 * 60_000
    return line(
        "strategy_signals",
        {"symbol": "BTCUSDT", "action": "LONG"},
        {"signal_id": "0123456789", "ttl_seconds": 5, "outcome": outcome},
        decided_ms,
    )


@raises("signals_without_outcome")
async def test_a_signal_that_nobody_answered(influx: InfluxClient) -> None:
    pending = signal("pending")
    operator = Operator({"signals": Signals(influx).readings}, "signals_without_outcome")
    await operator.shows(
        "signals_without_outcome",
        fault=lambda: influx.write([pending], precision="ms"),
        mend=lambda: influx.write([pending.replace("pending", "expired")], precision="ms"),
    )
    assert "BTCUSDT 01234567" in operator.told[0].text


class Bot(FreqtradeDouble):
    """freqtrade with real money."""

    def __init__(self) -> None:
        self.locks: list[dict[str, Any]] = []
        super().__init__()

    async def _answer(self, request: web.Request) -> web.Response:
        what = request.match_info["what"]
        if what == "locks":
            return web.json_response({"lock_count": len(self.locks), "locks": self.locks})
        if what == "show_config":
            return web.json_response({"dry_run": False, "stoploss_on_exchange": True})
        return await super()._answer(request)

    def hold(self, *orders: Mapping[str, Any]) -> None:
        self.opened = [trade(pair=PAIR, orders=list(orders))]

    def lock(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        self.locks = [
            {
                "id": 1, "pair": PAIR, "side": "*", "active": True, "reason": "MaxDrawdown",
                "lock_timestamp": now_ms, "lock_end_timestamp": now_ms + 600_000,
            }
        ]  # fmt: skip

    def unlock(self) -> None:
        self.locks = []


STOP = {"ft_order_side": "stoploss", "is_open": True}


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    bot = Bot()
    async with bot:
        yield bot


@pytest.fixture
async def asked(bot: Bot) -> AsyncIterator[Freqtrade]:
    async with FreqtradeClient(bot.settings()) as client:
        yield Freqtrade(client)


OF_FREQTRADE = ("position_without_stop", "entries_locked")


@raises("position_without_stop")
async def test_a_position_that_has_lost_its_stop(bot: Bot, asked: Freqtrade) -> None:
    bot.hold(STOP)
    operator = Operator({"freqtrade": asked.readings}, *OF_FREQTRADE)
    await operator.shows("position_without_stop", fault=bot.hold, mend=lambda: bot.hold(STOP))
    assert f"position in {PAIR} has no stop" in operator.told[0].text


@raises("entries_locked")
async def test_entries_that_a_protection_locks(bot: Bot, asked: Freqtrade) -> None:
    operator = Operator({"freqtrade": asked.readings}, *OF_FREQTRADE)
    await operator.shows("entries_locked", fault=bot.lock, mend=bot.unlock)
    assert "MaxDrawdown" in operator.told[0].text


def ignore(_: Iterable[str]) -> None:
    """The points that would be stored."""


async def no_pids() -> Mapping[str, int]:
    return {}


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture
def watched(engine: Engine) -> Iterator[Containers]:
    source = DockerContainers(engine.url)
    yield Containers(source, no_pids, ignore)
    source.close()


OF_CONTAINERS = ("container_memory_high", "container_memory_full", "container_unhealthy")


@pytest.mark.parametrize(
    ("code", "percent"), [("container_memory_high", 92), ("container_memory_full", 99)]
)
@raises("container_memory_high", "container_memory_full")
async def test_a_container_near_the_limit_of_its_memory(
    engine: Engine, watched: Containers, code: str, percent: int
) -> None:
    operator = Operator({"containers": watched.readings}, *OF_CONTAINERS)
    await operator.shows(code, fault=lambda: engine.use(percent), mend=lambda: engine.use(10))


@raises("container_unhealthy")
async def test_a_container_that_fails_its_health_check(engine: Engine, watched: Containers) -> None:
    operator = Operator({"containers": watched.readings}, *OF_CONTAINERS)
    await operator.shows(
        "container_unhealthy",
        fault=lambda: engine.become("unhealthy"),
        mend=lambda: engine.become("healthy"),
    )


class Worker:
    """A process that is started anew each time it is killed, as a supervisor does."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(["sleep", "600"])

    async def pids(self) -> Mapping[str, int]:
        return {"strategy-runner": self._process.pid}

    def restart(self) -> None:
        self.end()
        self._process = subprocess.Popen(["sleep", "600"])

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@raises("service_restarts")
async def test_a_service_that_keeps_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers_measure, "WINDOW_S", 2.0)
    worker = Worker()
    source = Containers(KnownProcesses(), worker.pids, ignore)
    operator = Operator({"containers": source.readings}, "service_restarts")

    async def crash() -> None:
        for _ in range(3):
            worker.restart()
            await operator.look()

    try:
        await operator.shows("service_restarts", fault=crash, mend=lambda: None)
    finally:
        worker.end()
