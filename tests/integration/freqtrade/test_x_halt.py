"""The kill switch ends entries at once and for good, and no exit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.core import names
from services.core.records import Halt, Heartbeat
from services.core.switch import KillSwitch
from tests.integration.children import bare
from tests.integration.freqtrade.bot import Bot, Runner, eventually
from tests.integration.freqtrade.exchange import Exchange
from tests.integration.servers import RedisServer, free_port

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def switch(bot: Bot, runner: Runner) -> Iterator[KillSwitch]:
    """The switch, lifted again afterwards."""
    switch = KillSwitch(runner.redis)
    yield switch
    record = switch.throw(halted=False, by="test", reason="")
    assert switch.await_seen(record, 10.0)


def halt(switch: KillSwitch) -> Halt:
    """Throw it and wait until that is known."""
    record = switch.throw(halted=True, by="test", reason="of a test")
    assert switch.await_seen(record, 10.0)
    return record


def command(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script with settings from the environment alone."""
    environ = {**bare(), "REDIS_PORT": str(port)}
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "kill_switch.py"), *arguments, "--environment"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def has_stop(trade: dict[str, Any]) -> bool:
    """Whether its stop rests on the exchange."""
    return "stoploss" in [order["ft_order_side"] for order in trade["orders"]]


def assert_refused(bot: Bot, runner: Runner) -> int:
    """Publish an entry, which must be refused because of the switch; when it was, in ms."""
    signal = runner.entry()
    runner.publish(signal)
    fill = runner.fill(signal.signal_id, "rejected")
    assert fill.reason == "halted"
    assert not bot.trades_of(signal.signal_id)
    return fill.ts_ms


def test_X9_entries_end_within_a_second_and_go_on_when_it_is_lifted(
    bot: Bot, runner: Runner, switch: KillSwitch
) -> None:
    held = runner.executed("ETHUSDT")
    record = switch.throw(halted=True, by="test", reason="of a test")
    assert assert_refused(bot, runner) - record.ts_ms <= 1000
    eventually(lambda: switch.is_seen(record), 1.0)
    assert [t["enter_tag"] for t in bot.open_trades()] == [f"sf:{held.signal_id}"]
    lifted = switch.throw(halted=False, by="test", reason="")
    assert switch.await_seen(lifted, 1.0)
    runner.executed("BTCUSDT")


def test_X9_no_signal_published_after_it_is_entered_on_without_a_wake_up(
    bot: Bot, runner: Runner, switch: KillSwitch
) -> None:
    record = Halt(halted=True, ts_ms=switch.read().ts_ms + 1, by="test")
    signal = runner.entry()
    with runner.redis.pipeline(transaction=True) as pipe:
        pipe.set(names.HALT, msgspec.json.encode(record))
        pipe.set(names.signal("BTCUSDT"), msgspec.json.encode(signal), ex=signal.ttl)
        pipe.execute()
    assert runner.fill(signal.signal_id, "rejected").reason == "halted"
    assert not bot.trades_of(signal.signal_id)


def test_X9_holds_an_entry_that_is_already_being_priced(
    bot: Bot, runner: Runner, exchange: Exchange, switch: KillSwitch
) -> None:
    thrown: list[Halt] = []

    def throw(endpoint: str, query: dict[str, str]) -> None:
        if endpoint == "depth" and not thrown:
            thrown.append(switch.throw(halted=True, by="test", reason="at the last moment"))

    before, exchange.before = exchange.before, throw
    try:
        assert_refused(bot, runner)
    finally:
        exchange.before = before
    assert thrown


def test_X9_exits_go_on_by_signal_and_by_stop(
    bot: Bot, runner: Runner, exchange: Exchange, switch: KillSwitch
) -> None:
    first, second = runner.executed("ETHUSDT"), runner.executed("BTCUSDT")
    eventually(lambda: all(has_stop(trade) for trade in bot.open_trades()))
    halt(switch)
    runner.publish(runner.close(first))
    assert runner.fill(first.signal_id, "closed").reason == "sf_range_break"
    exchange.prices["BTCUSDT"] *= 0.94
    assert runner.fill(second.signal_id, "closed").reason == "CATASTROPHIC_STOP"


def test_X9_survives_a_crash_of_freqtrade_and_the_loss_of_all_of_redis_data(
    bot: Bot, runner: Runner, switch: KillSwitch
) -> None:
    record = halt(switch)
    bot.kill()
    runner.redis.flushall()
    bot.start()
    eventually(lambda: switch.read() == record)
    assert_refused(bot, runner)


def test_X9_survives_a_restart_and_a_flush_of_redis(
    bot: Bot, runner: Runner, switch: KillSwitch, bot_redis: RedisServer
) -> None:
    record = halt(switch)
    bot_redis.kill()
    bot_redis.start()
    assert_refused(bot, runner)
    eventually(lambda: switch.read() == record)
    runner.redis.flushall()
    assert_refused(bot, runner)
    assert eventually(lambda: switch.read() == record)


def test_X9_heartbeat_and_alert_tell_of_it(bot: Bot, runner: Runner, switch: KillSwitch) -> None:
    record = halt(switch)
    raw = runner.redis.get(names.heartbeat("freqtrade"))
    assert isinstance(raw, bytes)
    beat = msgspec.json.decode(raw, type=Heartbeat)
    assert beat.status == "halted by test: of a test"
    assert (beat.details["halted"], beat.details["halt_ts_ms"]) == (True, record.ts_ms)
    eventually(
        lambda: any(b"entries halted" in raw for raw in runner.redis.lrange(names.ALERTS, 0, -1))
    )


def test_X9_command_halts_tells_and_lifts(
    bot: Bot, runner: Runner, switch: KillSwitch, bot_redis: RedisServer
) -> None:
    done = command(bot_redis.port, "on", "--reason", "exchange in trouble")
    assert (done.returncode, done.stderr) == (0, "")
    assert "entries are halted since" in done.stdout
    assert "exchange in trouble; the executor has confirmed" in done.stdout
    assert_refused(bot, runner)
    told = command(bot_redis.port, "status")
    assert told.returncode == 0
    assert told.stdout.strip().endswith("exchange in trouble")
    lifted = command(bot_redis.port, "off")
    assert lifted.returncode == 0
    assert "entries are allowed since" in lifted.stdout
    runner.executed("BTCUSDT")


def test_X9_command_says_when_nobody_confirms(own_redis: RedisServer, runner: Runner) -> None:
    done = command(own_redis.port, "on", "--timeout", "0.2")
    assert done.returncode == 1
    assert "The switch is set, but freqtrade has not confirmed it within 0.2 s" in done.stderr
    told = command(own_redis.port, "status")
    assert told.returncode == 1
    assert "entries are halted" in told.stdout
    assert "the executor has not confirmed it" in told.stdout


def test_X9_command_says_when_redis_is_away() -> None:
    done = command(free_port(), "on")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "not certain that the switch is set" in done.stderr
    assert "Traceback" not in done.stderr
