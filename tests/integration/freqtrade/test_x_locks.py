"""Losses lock entries, which are refused with the reason at once; exits go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from services.core import names
from services.core.records import Fill, Heartbeat, Signal
from tests.integration.freqtrade.bot import Bot, Runner, eventually
from tests.integration.freqtrade.exchange import Exchange
from tests.integration.freqtrade.monitored import monitored
from tests.integration.servers import RedisServer

pytestmark = pytest.mark.timeout(240)

Start = Callable[..., Bot]


@pytest.fixture
def start(
    tmp_path: Path, exchange: Exchange, bot_redis: RedisServer, runner: Runner
) -> Iterator[Start]:
    """Starts freqtrade with settings beside those of the other tests."""
    runner.redis.flushall()
    prices, bots = dict(exchange.prices), []

    def start(**settings: str) -> Bot:
        bot = Bot(tmp_path, bot_redis.port, exchange.url, settings)
        bots.append(bot)
        bot.start()
        return bot

    yield start
    exchange.prices.update(prices)
    for bot in bots:
        bot.close()


def enter(runner: Runner, symbol: str = "BTCUSDT") -> Signal:
    """A large trade at five times leverage: 750 USDT, of an account of 1000."""
    return runner.executed(symbol, leverage=5, position_size_factor=1.5)


def leave(runner: Runner, signal: Signal) -> Fill:
    """End its trade by a signal."""
    runner.publish(runner.close(signal))
    return runner.fill(signal.signal_id, "closed")


def has_stop(bot: Bot, signal: Signal) -> bool:
    """Whether the stop of its trade rests on the exchange."""
    (trade,) = bot.trades_of(signal.signal_id)
    return "stoploss" in [order["ft_order_side"] for order in trade["orders"]]


def refusal(bot: Bot, runner: Runner, symbol: str = "BTCUSDT") -> str:
    """Why a new signal is refused."""
    signal = runner.entry(symbol)
    runner.publish(signal)
    reason = runner.fill(signal.signal_id, "rejected").reason
    assert not bot.trades_of(signal.signal_id)
    return reason


def test_X10_cooldown_locks_its_pair_only_and_survives_a_restart(
    start: Start, runner: Runner
) -> None:
    bot = start(FREQTRADE_COOLDOWN_MIN="5")
    other = enter(runner, "ETHUSDT")
    leave(runner, enter(runner))
    assert refusal(bot, runner).startswith("locked: Cooldown period")
    assert monitored(bot) == {}, "a pause after each trade is nothing to tell of"
    assert leave(runner, other).reason == "sf_range_break"
    bot.kill()
    bot.start()
    assert refusal(bot, runner).startswith("locked: Cooldown period")


def test_X10_stop_guard_locks_all_entries_and_no_exit(
    start: Start, runner: Runner, exchange: Exchange
) -> None:
    bot = start(FREQTRADE_MAX_STOPS="1", FREQTRADE_PROTECTION_LOCK_MIN="60")
    other, stopped = enter(runner, "ETHUSDT"), enter(runner)
    eventually(lambda: has_stop(bot, stopped))
    exchange.prices["BTCUSDT"] *= 0.94
    assert runner.fill(stopped.signal_id, "closed").reason == "CATASTROPHIC_STOP"
    expected = "locked: 1 stoplosses in 1440 min, locking for 60 minutes."
    assert refusal(bot, runner) == expected
    assert monitored(bot)["entries_locked:*"].startswith("1 stoplosses in 1440 min")
    assert leave(runner, other).reason == "sf_range_break"
    assert refusal(bot, runner, "ETHUSDT") == expected


def test_X10_drawdown_locks_all_entries_and_no_exit(
    start: Start, runner: Runner, exchange: Exchange
) -> None:
    bot = start(FREQTRADE_MAX_DRAWDOWN="0.02", FREQTRADE_PROTECTION_WINDOW_MIN="30")
    other, losing = enter(runner, "ETHUSDT"), enter(runner)
    exchange.prices["BTCUSDT"] *= 0.97
    assert leave(runner, losing).pnl < -20
    assert "passed 0.02 in 30 minutes, locking for 720 minutes." in refusal(bot, runner)
    assert leave(runner, other).reason == "sf_range_break"
    assert "passed 0.02" in refusal(bot, runner, "ETHUSDT")


def test_X10_daily_loss_locks_until_midnight_and_no_exit(
    start: Start, runner: Runner, exchange: Exchange
) -> None:
    bot = start(FREQTRADE_MAX_DAILY_LOSS="0.02")
    losing = enter(runner, "ETHUSDT")
    exchange.prices["ETHUSDT"] *= 0.97
    eventually(lambda: bot.get("locks")["lock_count"] == 1)
    (lock,) = bot.get("locks")["locks"]
    assert (lock["pair"], lock["reason"]) == ("*", "daily_loss")
    assert lock["lock_end_timestamp"] % 86_400_000 == 0
    assert refusal(bot, runner) == "daily_loss"
    exchange.prices["ETHUSDT"] /= 0.97
    bot.kill()
    bot.start()
    assert refusal(bot, runner) == "daily_loss"
    raw = eventually(lambda: runner.redis.get(names.heartbeat("freqtrade")))
    assert isinstance(raw, bytes)
    assert msgspec.json.decode(raw, type=Heartbeat).status == "daily loss reached"
    assert leave(runner, losing).reason == "sf_range_break"


def test_full_slots_are_refused_at_once_and_freed_by_an_exit(start: Start, runner: Runner) -> None:
    bot = start(FREQTRADE__MAX_OPEN_TRADES="1")
    first = enter(runner)
    assert refusal(bot, runner, "ETHUSDT") == "slots"
    leave(runner, first)
    enter(runner, "ETHUSDT")
