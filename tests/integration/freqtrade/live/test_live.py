"""Real money: the real freqtrade, with keys, against the exchange's private API."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from services.core import names
from services.core.records import Signal
from tests.integration.freqtrade.bot import START, Bot, Runner, eventually
from tests.integration.freqtrade.conftest import flatten
from tests.integration.freqtrade.live_account import Refusal
from tests.integration.freqtrade.live_exchange import LiveExchange
from tests.integration.freqtrade.monitored import monitored
from tests.integration.servers import free_port

pytestmark = pytest.mark.timeout(300)

ALARM_LIMIT_S = 60.0


@pytest.fixture
def bot(running_bot: Bot, runner: Runner, exchange: LiveExchange) -> Iterator[Bot]:
    """freqtrade and the exchange without positions."""
    prices = dict(exchange.prices)
    exchange.private_requests.clear()
    exchange.refused.clear()
    runner.redis.delete(names.ALERTS)
    yield running_bot
    exchange.prices.update(prices)
    for symbol in prices:
        runner.withdraw(symbol)
    flatten(running_bot, runner)
    assert not exchange.account.risks()


def entry(runner: Runner, symbol: str = "BTCUSDT", **changes: Any) -> Signal:
    """An entry signal for real money."""
    return runner.entry(symbol, **{"mode": "live", "leverage": 3, **changes})


def enter(runner: Runner, signal: Signal) -> None:
    """Publish a signal and wait for its trade."""
    runner.publish(signal)
    runner.fill(signal.signal_id, "opened")


def position(exchange: LiveExchange, symbol: str = "BTCUSDT") -> Decimal:
    """Base coins held at the exchange, negative when short."""
    found = [p for p in exchange.account.risks() if p["symbol"] == symbol]
    return Decimal(found[0]["positionAmt"]) if found else Decimal(0)


def resting_stop(exchange: LiveExchange) -> dict[str, Any]:
    """The one stop that rests on the exchange, awaited."""
    eventually(exchange.account.open_stops)
    (stop,) = exchange.account.open_stops()
    return stop


@pytest.mark.parametrize(("action", "sign"), [("LONG", 1), ("SHORT", -1)])
def test_entry_sets_leverage_and_isolated_margin_and_rests_the_stop_on_the_exchange(
    bot: Bot, runner: Runner, exchange: LiveExchange, action: Any, sign: int
) -> None:
    price = exchange.prices["BTCUSDT"]
    signal = entry(runner, action=action, leverage=4, stop_price=price * (1 - 0.04 * sign))
    enter(runner, signal)
    stop = resting_stop(exchange)
    assert exchange.account.leverage["BTCUSDT"] == 4
    assert exchange.account.margin_type["BTCUSDT"] == "ISOLATED"
    # 100 USDT of margin at 4 times, in lots of 0.001, of which two orders have to remain sellable.
    assert Decimal("0.002") <= position(exchange) * sign <= Decimal("0.004")
    ((method, order),) = exchange.requests_to("v1/order")[:1]
    assert (method, order["side"]) == ("POST", "BUY" if sign > 0 else "SELL")
    assert float(stop["triggerPrice"]) == signal.stop_price
    assert stop["side"] == ("SELL" if sign > 0 else "BUY")
    assert stop["reduceOnly"]
    assert Decimal(stop["quantity"]) == abs(position(exchange))


def test_exit_reduces_only_and_cancels_the_stop(
    bot: Bot, runner: Runner, exchange: LiveExchange
) -> None:
    before = exchange.account.wallet
    signal = entry(runner)
    enter(runner, signal)
    stop = resting_stop(exchange)
    exchange.prices["BTCUSDT"] = 101_000.0
    runner.publish(runner.close(signal))
    fill = runner.fill(signal.signal_id, "closed")
    assert fill.reason == "sf_range_break"
    assert position(exchange) == 0
    eventually(lambda: stop["algoStatus"] == "CANCELED")
    orders = [q for m, q in exchange.requests_to("v1/order") if m == "POST"]
    assert [q.get("reduceOnly", "false").lower() for q in orders] == ["false", "true"]
    assert fill.pnl == pytest.approx(float(exchange.account.wallet - before), abs=1e-6)


def test_stop_executed_by_the_exchange_while_freqtrade_is_down_is_told_afterwards(
    bot: Bot, runner: Runner, exchange: LiveExchange
) -> None:
    signal = entry(runner, "ETHUSDT", stop_price=3_900.0)
    enter(runner, signal)
    stop = resting_stop(exchange)
    eventually(lambda: "stoploss" in [o["ft_order_side"] for o in bot.open_trades()[0]["orders"]])
    bot.kill()
    exchange.prices["ETHUSDT"] = 3_895.0
    exchange.account.trigger()
    assert stop["algoStatus"] == "FINISHED"
    bot.start()
    fill = runner.fill(signal.signal_id, "closed", 20.0)
    assert fill.reason == "CATASTROPHIC_STOP"
    assert fill.price == pytest.approx(3_895.0)


def test_signal_for_simulated_money_is_refused(
    bot: Bot, runner: Runner, exchange: LiveExchange
) -> None:
    signal = entry(runner, mode="paper")
    runner.publish(signal)
    assert runner.fill(signal.signal_id, "rejected").reason == "wrong_mode"
    assert exchange.requests_to("v1/order") == []


def test_X8_position_freqtrade_does_not_know_halts_entries_within_the_minute_and_exits_go_on(
    bot: Bot, runner: Runner, exchange: LiveExchange
) -> None:
    held = entry(runner)
    enter(runner, held)
    began = time.monotonic()
    exchange.trade_by_hand("ETHUSDT", "-0.5")
    alarm = eventually(lambda: alarm_of(runner, "unknown_position"), ALARM_LIMIT_S)
    assert time.monotonic() - began <= ALARM_LIMIT_S
    assert alarm["level"] == "critical"
    assert "short 0.5 ETH/USDT:USDT" in alarm["text"]
    eventually(lambda: "short 0.5 ETH/USDT:USDT" in health(runner)["status"])

    refused = entry(runner, "ETHUSDT")
    runner.publish(refused)
    assert runner.fill(refused.signal_id, "rejected").reason == "unknown_position"
    runner.withdraw("ETHUSDT")
    runner.publish(runner.close(held))
    assert runner.fill(held.signal_id, "closed").reason == "sf_range_break"

    exchange.trade_by_hand("ETHUSDT", "0.5")
    eventually(lambda: health(runner)["status"] == "ok", ALARM_LIMIT_S)
    admitted = entry(runner, "ETHUSDT")
    enter(runner, admitted)


@pytest.mark.parametrize("lost", ["reply", "process"])
def test_X8_order_whose_outcome_was_lost_is_not_repeated_and_its_position_raises_the_alarm(
    bot: Bot, runner: Runner, exchange: LiveExchange, lost: str
) -> None:
    def lose(method: str, path: str) -> bool:
        if (method, path) != ("POST", "v1/order"):
            return False
        if lost == "process":
            bot.kill()
        return True

    exchange.lose_reply = lose
    signal = entry(runner)
    runner.publish(signal, ttl=120)
    eventually(lambda: position(exchange))
    exchange.lose_reply = lambda method, path: False
    if lost == "process":
        bot.start()
    alarm = eventually(lambda: alarm_of(runner, "unknown_position"), ALARM_LIMIT_S)
    assert "BTC/USDT:USDT" in alarm["text"]
    eventually(lambda: health(runner)["status"] != "ok")
    assert len([m for m, _ in exchange.requests_to("v1/order") if m == "POST"]) == 1
    assert not bot.trades_of(signal.signal_id)
    runner.withdraw("BTCUSDT")
    exchange.trade_by_hand("BTCUSDT", str(-position(exchange)))
    eventually(lambda: health(runner)["status"] == "ok", ALARM_LIMIT_S)


def test_position_whose_stop_the_exchange_refuses_is_closed_at_once(
    bot: Bot, runner: Runner, exchange: LiveExchange
) -> None:
    exchange.refusals["POST", "v1/algoOrder"] = Refusal(-4045, "Reach max stop order limit.")
    signal = entry(runner)
    enter(runner, signal)
    assert runner.fill(signal.signal_id, "closed").reason == "emergency_exit"
    assert position(exchange) == 0
    exchange.refusals.clear()
    exchange.refused.clear()


def test_position_whose_stop_cannot_be_placed_raises_the_alarm_and_halts_entries(
    bot: Bot, runner: Runner, exchange: LiveExchange
) -> None:
    exchange.refusals["POST", "v1/algoOrder"] = Refusal(-1001, "Internal error.", 503)
    held = entry(runner)
    enter(runner, held)
    alarm = eventually(lambda: alarm_of(runner, "unprotected_position"), ALARM_LIMIT_S)
    assert "BTC/USDT:USDT" in alarm["text"]
    assert "freqtrade has placed none" in monitored(bot)["position_without_stop:BTC/USDT:USDT"]
    refused = entry(runner, "ETHUSDT")
    runner.publish(refused)
    assert runner.fill(refused.signal_id, "rejected").reason == "unprotected_position"
    exchange.refusals.clear()
    exchange.refused.clear()
    resting_stop(exchange)
    eventually(lambda: not monitored(bot))
    eventually(lambda: health(runner)["status"] == "ok", ALARM_LIMIT_S)


@pytest.mark.parametrize("lost", ["reply", "process"])
def test_stop_left_over_because_its_answer_was_lost_raises_the_alarm_and_halts_entries(
    bot: Bot, runner: Runner, exchange: LiveExchange, lost: str
) -> None:
    def lose(method: str, path: str) -> bool:
        if (method, path) != ("POST", "v1/algoOrder"):
            return False
        exchange.lose_reply = lambda method, path: False
        if lost == "process":
            bot.kill()
        return True

    exchange.lose_reply = lose
    held = entry(runner)
    runner.publish(held)
    first = resting_stop(exchange)
    if lost == "process":
        bot.start()
    alarm = eventually(lambda: alarm_of(runner, "stray_stop"), ALARM_LIMIT_S)
    assert f"{first['algoId']} BTC/USDT:USDT" in alarm["text"]
    assert len(exchange.account.open_stops()) == 2
    refused = entry(runner, "ETHUSDT")
    runner.publish(refused)
    assert runner.fill(refused.signal_id, "rejected").reason == "stray_stop"
    eventually(lambda: "stops unknown" in health(runner)["status"])
    exchange.cancel_by_hand(first["algoId"])
    eventually(lambda: health(runner)["status"] == "ok", ALARM_LIMIT_S)


def test_every_request_is_understood_and_goes_to_the_futures_only(
    bot: Bot, runner: Runner, exchange: LiveExchange
) -> None:
    assert exchange.unknown == []
    assert not [r for r in exchange.refused if "No need to change margin type" not in r]


def test_second_process_on_the_same_data_is_refused(bot: Bot) -> None:
    port = str(free_port())
    second = subprocess.run(
        [str(START)],
        env={**bot.environ, "FREQTRADE__API_SERVER__LISTEN_PORT": port},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 78
    [line] = second.stderr.splitlines()
    assert line.startswith(f"freqtrade: process {bot.pid} on ")


def test_keys_stay_out_of_the_log(bot: Bot, exchange: LiveExchange) -> None:
    assert exchange.key not in bot.log
    assert exchange.secret not in bot.log


def alarm_of(runner: Runner, code: str) -> dict[str, Any] | None:
    """The newest critical alert of a kind."""
    entries: Any = runner.redis.lrange(names.ALERTS, 0, -1)
    alerts: list[dict[str, Any]] = [json.loads(entry) for entry in entries]
    found = [a for a in alerts if a["code"] == code and a["level"] == "critical"]
    return found[0] if found else None


def health(runner: Runner) -> dict[str, Any]:
    """The executor's last sign of life."""
    raw: Any = eventually(lambda: runner.redis.get(names.heartbeat("freqtrade")))
    beat: dict[str, Any] = json.loads(raw)
    return beat
