"""Crashes and outages: no signal is executed twice, no fill is lost, stops go on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from services.core import names
from services.core.records import Heartbeat, Signal
from tests.integration.freqtrade.bot import Bot, Runner, blocking_redis, eventually
from tests.integration.freqtrade.exchange import Exchange
from tests.integration.servers import RedisServer

pytestmark = pytest.mark.timeout(400)


def status(runner: Runner) -> str:
    """What freqtrade says of itself."""
    raw = runner.redis.get(names.heartbeat("freqtrade"))
    return msgspec.json.decode(raw, type=Heartbeat).status if isinstance(raw, bytes) else ""


def events(runner: Runner, signal: Signal) -> list[str]:
    """What was told of a signal."""
    return [fill.event for fill in runner.fills() if fill.signal_id == signal.signal_id]


def test_X7_killed_and_started_again_it_keeps_its_trade_and_enters_no_second(
    bot: Bot, runner: Runner
) -> None:
    signal = runner.executed("ETHUSDT")
    stop = eventually(lambda: bot.open_trades()[0]["stop_loss_abs"])
    bot.kill()
    runner.refresh(signal)
    bot.start()
    other = runner.executed("BTCUSDT")
    assert len(bot.trades_of(signal.signal_id)) == 1
    assert events(runner, signal) == ["opened"]
    kept = next(t for t in bot.open_trades() if t["enter_tag"] != f"sf:{other.signal_id}")
    assert kept["stop_loss_abs"] == stop == signal.stop_price
    runner.publish(runner.close(signal))
    assert runner.fill(signal.signal_id, "closed").reason == "sf_range_break"


def test_D67_lost_claims_do_not_lead_to_a_second_trade(
    bot: Bot, runner: Runner, bot_redis: RedisServer
) -> None:
    signal = runner.executed("ETHUSDT")
    runner.publish(runner.close(signal))
    runner.fill(signal.signal_id, "closed")
    bot.stop()
    runner.redis.flushall()
    bot.start()
    runner.refresh(signal)
    runner.executed("BTCUSDT")
    assert len(bot.trades_of(signal.signal_id)) == 1
    # Stopped before it had noted that the fill was told, it tells it again; readers know its id.
    assert set(events(runner, signal)) <= {"closed"}


def closed_untold(bot: Bot, runner: Runner, bot_redis: RedisServer) -> tuple[Signal, int]:
    """A signal whose trade has ended since Redis is away, and the trade's id."""
    signal = runner.executed("ETHUSDT")
    (trade,) = bot.open_trades()
    bot_redis.kill()
    bot.post("forceexit", {"tradeid": str(trade["trade_id"])})
    eventually(lambda: not bot.open_trades())
    return signal, trade["trade_id"]


def test_fills_during_an_outage_are_told_afterwards(
    bot: Bot, runner: Runner, bot_redis: RedisServer
) -> None:
    signal, trade_id = closed_untold(bot, runner, bot_redis)
    bot_redis.start()
    fill = runner.fill(signal.signal_id, "closed")
    assert fill.trade_id == trade_id
    assert events(runner, signal) == ["closed"]
    runner.executed("ETHUSDT")


def test_fills_untold_at_a_crash_are_told_after_the_restart(
    bot: Bot, runner: Runner, bot_redis: RedisServer
) -> None:
    signal, trade_id = closed_untold(bot, runner, bot_redis)
    bot.kill()
    bot_redis.start()
    bot.start()
    assert runner.fill(signal.signal_id, "closed").trade_id == trade_id


def test_stop_works_while_redis_hangs(
    bot: Bot, runner: Runner, bot_redis: RedisServer, exchange: Exchange
) -> None:
    signal = runner.executed("ETHUSDT")
    eventually(lambda: "stoploss" in [o["ft_order_side"] for o in bot.open_trades()[0]["orders"]])
    bot_redis.pause()
    try:
        exchange.prices["ETHUSDT"] *= 0.94
        eventually(lambda: not bot.open_trades(), 8.0)
    finally:
        bot_redis.resume()
    assert runner.fill(signal.signal_id, "closed").reason == "CATASTROPHIC_STOP"


def test_redis_that_does_not_tell_who_may_enter_stops_entries_and_no_exit(
    bot: Bot, runner: Runner
) -> None:
    held, said = runner.executed("ETHUSDT"), bot.log.count("entries are for this executor")
    runner.redis.acl_setuser("default", enabled=True, commands=["-eval"])
    try:
        eventually(lambda: "Redis does not tell who may enter" in status(runner))
        refused = runner.entry("BTCUSDT")
        runner.publish(refused)
        bot.let_turn()
        runner.publish(runner.close(held))
        assert runner.fill(held.signal_id, "closed").reason == "sf_range_break"
        assert not bot.trades_of(refused.signal_id)
        assert bot.log.count("entries are for this executor") == said
    finally:
        runner.redis.acl_setuser("default", enabled=True, categories=["+@all"])
    eventually(lambda: status(runner) == "ok")
    assert bot.log.count("entries are for this executor") == said + 1
    runner.executed("ETHUSDT")


def test_it_starts_without_redis_and_trades_once_redis_is_there(
    exchange: Exchange, own_redis: RedisServer, tmp_path: Path
) -> None:
    own_redis.kill()
    with Bot(tmp_path, own_redis.port, exchange.url) as bot:
        own_redis.start()
        with blocking_redis(own_redis.port) as client:
            Runner(client, exchange.prices).executed("ETHUSDT")
        assert bot.stop() == 0
