"""Two executors on one Redis by mistake: one enters, the other says why it does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from services.core import names
from services.core.records import Alert, Heartbeat
from tests.integration.freqtrade.bot import Bot, Runner, eventually
from tests.integration.freqtrade.exchange import Exchange
from tests.integration.servers import RedisServer

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def second(
    bot: Bot, runner: Runner, tmp_path: Path, exchange: Exchange, bot_redis: RedisServer
) -> Iterator[Bot]:
    """Another executor with data of its own, started while the first holds the lease."""
    eventually(lambda: runner.redis.get(names.EXECUTOR_LEASE))
    with Bot(tmp_path, bot_redis.port, exchange.url) as other:
        yield other


def owner(bot: Bot) -> str:
    """The name of its data."""
    return (bot.folder / "data" / ".executor_id").read_text().strip()


def holder(runner: Runner) -> str:
    """Whose lease it is; empty if nobody's."""
    raw = runner.redis.get(names.EXECUTOR_LEASE)
    return raw.decode().rpartition(":")[0] if isinstance(raw, bytes) else ""


def beat(runner: Runner, service: str) -> Heartbeat:
    """A service's heartbeat, awaited."""
    raw = eventually(lambda: runner.redis.get(names.heartbeat(service)))
    assert isinstance(raw, bytes)
    return msgspec.json.decode(raw, type=Heartbeat)


def test_X5_second_executor_takes_nothing_and_says_why(
    bot: Bot, second: Bot, runner: Runner
) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT"):
        signal = runner.executed(symbol)
        assert len(bot.trades_of(signal.signal_id)) == 1
        runner.publish(runner.close(signal))
        runner.fill(signal.signal_id, "closed")
    foreign = runner.entry(pair="ETH/USDT:USDT")
    runner.publish(foreign)
    runner.fill(foreign.signal_id, "rejected")
    second.let_turn()
    assert second.get("trades?limit=500")["trades"] == second.open_trades() == []
    refusals = [f for f in runner.fills() if f.signal_id == foreign.signal_id]
    assert len(refusals) == 1
    told = beat(runner, f"freqtrade-{owner(second)[:8]}")
    assert told.status.startswith(f"another executor ({owner(bot)}) may enter, its lease ends in")
    assert told.details["lease"] == 0
    first = beat(runner, "freqtrade")
    assert (first.status, first.details["executor"]) == ("ok", owner(bot))
    assert second.log.count(" - ERROR - ") == 1
    assert "stop one of the two, this one enters nothing" in second.log
    alerts = [msgspec.json.decode(a, type=Alert) for a in runner.redis.lrange(names.ALERTS, 0, -1)]
    assert [a.level for a in alerts if a.code == "second_executor"] == ["critical"]


def test_X5_lease_passes_on_when_it_has_ended_and_the_first_refuses_then(
    bot: Bot, second: Bot, runner: Runner
) -> None:
    signal = runner.executed("ETHUSDT")
    bot.kill()
    left_s = 4.0
    runner.redis.pexpire(names.EXECUTOR_LEASE, int(left_s * 1000))
    began = time.monotonic()
    early = runner.entry()
    runner.publish(early, ttl=2)
    second.let_turn()
    assert holder(runner) == owner(bot)
    assert not second.trades_of(early.signal_id)
    eventually(lambda: holder(runner) == owner(second), 15.0)
    assert time.monotonic() - began >= left_s - 0.1
    late = runner.executed()
    assert len(second.trades_of(late.signal_id)) == 1
    bot.start()
    runner.publish(runner.close(signal))
    assert runner.fill(signal.signal_id, "closed").reason == "sf_range_break"
    assert beat(runner, f"freqtrade-{owner(bot)[:8]}").details["lease"] == 0
    runner.publish(runner.close(late))
    runner.fill(late.signal_id, "closed")
    second.kill()
    runner.redis.pexpire(names.EXECUTOR_LEASE, 3_000)
    eventually(lambda: holder(runner) == owner(bot), 15.0)


def test_X5_data_lost_in_redis_leaves_the_lease_with_the_first(
    bot: Bot, second: Bot, runner: Runner
) -> None:
    for _ in range(5):
        runner.redis.flushall()
        assert eventually(lambda: holder(runner)) == owner(bot)
    signal = runner.executed()
    assert len(bot.trades_of(signal.signal_id)) == 1
    assert not second.trades_of(signal.signal_id)
