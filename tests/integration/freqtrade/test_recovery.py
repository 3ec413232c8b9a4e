"""Crashes and outages: no signal is executed twice, no fill is lost, stops go on."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from services.core.records import Signal
from tests.integration.freqtrade.bot import Bot, Runner, blocking_redis, eventually
from tests.integration.freqtrade.exchange import Exchange
from tests.integration.servers import RedisServer

pytestmark = pytest.mark.timeout(400)


def open_trade(runner: Runner, symbol: str = "ETHUSDT") -> Signal:
    """An executed signal."""
    signal = runner.entry(symbol)
    runner.publish(signal)
    runner.fill(signal.signal_id, "opened")
    return signal


def publish_refreshed(runner: Runner, signal: Signal) -> None:
    """Set the signal again, as its writer does each second."""
    runner.publish(msgspec.structs.replace(signal, refreshed_ms=time.time_ns() // 1_000_000))


def events(runner: Runner, signal: Signal) -> list[str]:
    """What was told of a signal."""
    return [fill.event for fill in runner.fills() if fill.signal_id == signal.signal_id]


def test_X7_killed_and_started_again_it_keeps_its_trade_and_enters_no_second(
    bot: Bot, runner: Runner
) -> None:
    signal = open_trade(runner)
    stop = eventually(lambda: bot.open_trades()[0]["stop_loss_abs"])
    bot.kill()
    publish_refreshed(runner, signal)
    bot.start()
    other = open_trade(runner, "BTCUSDT")
    assert len(bot.trades_of(signal.signal_id)) == 1
    assert events(runner, signal) == ["opened"]
    kept = next(t for t in bot.open_trades() if t["enter_tag"] != f"sf:{other.signal_id}")
    assert kept["stop_loss_abs"] == stop == signal.stop_price
    runner.publish(runner.close(signal))
    assert runner.fill(signal.signal_id, "closed").reason == "sf_range_break"


def test_D67_lost_claims_do_not_lead_to_a_second_trade(
    bot: Bot, runner: Runner, bot_redis: RedisServer
) -> None:
    signal = open_trade(runner)
    runner.publish(runner.close(signal))
    runner.fill(signal.signal_id, "closed")
    bot.stop()
    runner.redis.flushall()
    bot.start()
    publish_refreshed(runner, signal)
    open_trade(runner, "BTCUSDT")
    assert len(bot.trades_of(signal.signal_id)) == 1
    # Stopped before it had noted that the fill was told, it tells it again; readers know its id.
    assert set(events(runner, signal)) <= {"closed"}


def test_fills_during_an_outage_are_told_afterwards(
    bot: Bot, runner: Runner, bot_redis: RedisServer
) -> None:
    signal = open_trade(runner)
    (trade,) = bot.open_trades()
    bot_redis.kill()
    bot.post("forceexit", {"tradeid": str(trade["trade_id"])})
    eventually(lambda: not bot.open_trades())
    bot_redis.start()
    fill = runner.fill(signal.signal_id, "closed")
    assert fill.trade_id == trade["trade_id"]
    assert events(runner, signal) == ["closed"]
    open_trade(runner)


def test_fills_untold_at_a_crash_are_told_after_the_restart(
    bot: Bot, runner: Runner, bot_redis: RedisServer
) -> None:
    signal = open_trade(runner)
    (trade,) = bot.open_trades()
    bot_redis.kill()
    bot.post("forceexit", {"tradeid": str(trade["trade_id"])})
    eventually(lambda: not bot.open_trades())
    bot.kill()
    bot_redis.start()
    bot.start()
    assert runner.fill(signal.signal_id, "closed").trade_id == trade["trade_id"]


def test_stop_works_while_redis_hangs(
    bot: Bot, runner: Runner, bot_redis: RedisServer, exchange: Exchange
) -> None:
    signal = open_trade(runner)
    eventually(lambda: "stoploss" in [o["ft_order_side"] for o in bot.open_trades()[0]["orders"]])
    bot_redis.pause()
    try:
        exchange.prices["ETHUSDT"] *= 0.94
        eventually(lambda: not bot.open_trades(), 8.0)
    finally:
        bot_redis.resume()
    assert runner.fill(signal.signal_id, "closed").reason == "CATASTROPHIC_STOP"


def test_it_starts_without_redis_and_trades_once_redis_is_there(
    exchange: Exchange, own_redis: RedisServer, tmp_path: Path
) -> None:
    own_redis.kill()
    bot = Bot(tmp_path, own_redis.port, exchange.url)
    try:
        bot.start()
        own_redis.start()
        with blocking_redis(own_redis.port) as client:
            open_trade(Runner(client, exchange.prices))
        assert bot.stop() == 0
    finally:
        bot.close()
