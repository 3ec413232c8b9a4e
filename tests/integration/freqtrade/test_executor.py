"""Signals become trades of the real freqtrade, and their exits: once, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import requests

from services.core import names
from tests.integration.freqtrade.bot import JWT_SECRET, PASSWORD, Bot, Runner, eventually
from tests.integration.freqtrade.exchange import Exchange

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).resolve().parents[3]


def let_read(bot: Bot, runner: Runner) -> None:
    """Return when freqtrade has read, and acted on, all that stands in the BTC key now.

    The keys are read together and BTC is acted on first, so an ETH trade comes after.
    """
    signal = runner.executed("ETHUSDT")
    runner.publish(runner.close(signal))
    runner.fill(signal.signal_id, "closed")
    runner.withdraw("ETHUSDT")


def test_long_signal_becomes_a_trade_of_its_size_leverage_and_tag(bot: Bot, runner: Runner) -> None:
    signal = runner.entry("ETHUSDT", position_size_factor=0.5, leverage=2)
    runner.publish(signal)
    fill = runner.fill(signal.signal_id, "opened")
    (trade,) = bot.open_trades()
    assert trade["enter_tag"] == f"sf:{signal.signal_id}"
    assert (trade["pair"], trade["is_short"], trade["leverage"]) == ("ETH/USDT:USDT", False, 2)
    assert trade["stake_amount"] == pytest.approx(50, rel=0.05)
    assert fill.trade_id == trade["trade_id"]
    assert (fill.side, fill.symbol, fill.pair) == ("long", "ETHUSDT", "ETH/USDT:USDT")
    assert (fill.price, fill.amount, fill.leverage) == (trade["open_rate"], trade["amount"], 2)
    assert abs(fill.ts_ms - trade["open_timestamp"]) < 2_000


def test_short_signal_of_full_size(bot: Bot, runner: Runner) -> None:
    signal = runner.entry("ETHUSDT", "SHORT", position_size_factor=1.5, leverage=5)
    runner.publish(signal)
    assert runner.fill(signal.signal_id, "opened").side == "short"
    (trade,) = bot.open_trades()
    assert trade["is_short"]
    assert trade["leverage"] == 5
    assert trade["stake_amount"] == pytest.approx(150, rel=0.05)


def test_leverage_beyond_the_own_limit_is_capped(bot: Bot, runner: Runner) -> None:
    signal = runner.entry("ETHUSDT", leverage=50)
    runner.publish(signal)
    assert runner.fill(signal.signal_id, "opened").leverage == 5


def test_signal_is_found_without_its_announcement(bot: Bot, runner: Runner) -> None:
    signal = runner.entry()
    runner.publish(signal, wake=False)
    assert runner.fill(signal.signal_id, "opened").event == "opened"


def test_signal_left_in_place_is_executed_once(bot: Bot, runner: Runner) -> None:
    signal = runner.executed()
    trade = bot.trades_of(signal.signal_id)[0]
    bot.post("forceexit", {"tradeid": str(trade["trade_id"])})
    runner.fill(signal.signal_id, "closed")
    for _ in range(2):
        runner.refresh(signal)
        let_read(bot, runner)
    assert len(bot.trades_of(signal.signal_id)) == 1
    assert runner.redis.get(names.executed(signal.signal_id)) == b"1"
    assert [f.event for f in runner.fills() if f.signal_id == signal.signal_id] == [
        "opened",
        "closed",
    ]


def test_signal_claimed_by_another_process_is_left_to_it(bot: Bot, runner: Runner) -> None:
    signal = runner.entry()
    runner.redis.set(names.executed(signal.signal_id), "1")
    runner.publish(signal)
    let_read(bot, runner)
    assert not bot.trades_of(signal.signal_id)
    assert not [f for f in runner.fills() if f.signal_id == signal.signal_id]


def test_next_signal_for_the_same_side_enters_within_the_same_candle(
    bot: Bot, runner: Runner
) -> None:
    for _ in range(2):
        signal = runner.executed()
        runner.publish(runner.close(signal))
        runner.fill(signal.signal_id, "closed")


def test_close_signal_ends_its_trade_and_tells_the_profit(
    bot: Bot, runner: Runner, exchange: Exchange
) -> None:
    signal = runner.executed("ETHUSDT", "SHORT")
    exchange.prices["ETHUSDT"] = 3_960.0
    runner.publish(runner.close(signal, "FLOW_REVERSAL"))
    fill = runner.fill(signal.signal_id, "closed")
    (trade,) = bot.trades_of(signal.signal_id)
    assert not trade["is_open"]
    assert fill.reason == trade["exit_reason"] == "sf_flow_reversal"
    assert fill.price == trade["close_rate"] == pytest.approx(3_960.1)
    assert fill.pnl == pytest.approx(trade["close_profit_abs"], abs=1e-6)
    assert fill.pnl_ratio == pytest.approx(trade["close_profit"], abs=1e-6)
    assert fill.pnl > 0


def test_close_signal_of_another_trade_is_ignored(bot: Bot, runner: Runner) -> None:
    signal = runner.executed()
    runner.publish(runner.close(runner.entry()))
    let_read(bot, runner)
    assert [t["enter_tag"] for t in bot.open_trades()] == [f"sf:{signal.signal_id}"]


@pytest.mark.parametrize("age_ms", [5_500, 60_000])
def test_stale_signal_is_not_executed(bot: Bot, runner: Runner, age_ms: int) -> None:
    past = time.time_ns() // 1_000_000 - age_ms
    signal = runner.entry(ts_ms=past, refreshed_ms=past, valid_until_ms=past + 60_000)
    runner.publish(signal)
    let_read(bot, runner)
    assert not bot.trades_of(signal.signal_id)


def test_signal_past_its_window_is_not_executed(bot: Bot, runner: Runner) -> None:
    signal = runner.entry(valid_until_ms=time.time_ns() // 1_000_000 - 1)
    runner.publish(signal)
    let_read(bot, runner)
    assert not bot.trades_of(signal.signal_id)


def test_price_that_has_run_away_is_refused_for_good(
    bot: Bot, runner: Runner, exchange: Exchange
) -> None:
    signal = runner.entry(max_deviation=0.002)
    exchange.prices["BTCUSDT"] *= 1.005
    runner.publish(signal)
    assert runner.fill(signal.signal_id, "rejected").reason == "price_deviation"
    exchange.prices["BTCUSDT"] /= 1.005
    runner.refresh(signal)
    let_read(bot, runner)
    assert not bot.trades_of(signal.signal_id)
    assert [f.event for f in runner.fills() if f.signal_id == signal.signal_id] == ["rejected"]


def test_signal_for_another_market_than_its_key_is_refused(bot: Bot, runner: Runner) -> None:
    signal = msgspec.structs.replace(runner.entry(), pair="ETH/USDT:USDT")
    runner.publish(signal)
    assert runner.fill(signal.signal_id, "rejected").reason == "foreign_market"
    assert not bot.open_trades()


def test_signal_of_a_deposed_writer_is_refused(bot: Bot, runner: Runner) -> None:
    first = runner.executed()
    runner.publish(runner.close(first))
    runner.fill(first.signal_id, "closed")
    late = runner.entry(fence=first.fence - 1)
    runner.publish(late)
    assert runner.fill(late.signal_id, "rejected").reason == "deposed_writer"
    runner.executed()


def test_second_signal_for_an_open_position_is_refused(bot: Bot, runner: Runner) -> None:
    first, second = runner.entry(), runner.entry(action="SHORT")
    runner.publish(first)
    runner.fill(first.signal_id, "opened")
    runner.publish(second)
    assert runner.fill(second.signal_id, "rejected").reason == "position_open"
    assert len(bot.open_trades()) == 1


@pytest.mark.parametrize("value", [b"{", b"[]", b'{"schema":"sf.signal.v2"}'])
def test_unreadable_key_does_not_disturb_other_symbols(
    bot: Bot, runner: Runner, value: bytes
) -> None:
    runner.redis.set(names.signal("BTCUSDT"), value)
    let_read(bot, runner)
    assert "signal key cannot be read" in bot.log


def test_catastrophic_stop_holds_at_the_price_of_the_signal(
    bot: Bot, runner: Runner, exchange: Exchange
) -> None:
    signal = runner.executed("ETHUSDT", leverage=5, stop_price=3_900.0)
    eventually(lambda: bot.open_trades()[0]["stop_loss_abs"] == 3_900.0)
    exchange.prices["ETHUSDT"] = 3_920.0
    runner.executed()
    assert bot.trades_of(signal.signal_id)[0]["is_open"]
    exchange.prices["ETHUSDT"] = 3_895.0
    fill = runner.fill(signal.signal_id, "closed")
    assert fill.reason == "CATASTROPHIC_STOP"
    assert fill.pnl < 0


def test_heartbeat_comes_from_the_loop(bot: Bot, runner: Runner) -> None:
    raw = eventually(lambda: runner.redis.get(names.heartbeat("freqtrade")))
    assert isinstance(raw, bytes)
    heartbeat = json.loads(raw)
    assert heartbeat["service"] == "freqtrade"
    assert heartbeat["pid"] == bot.pid
    assert heartbeat["status"] == "ok"
    assert abs(heartbeat["ts_ms"] - time.time() * 1000) < 15_000


def test_fills_and_refusals_say_that_the_money_is_simulated(bot: Bot, runner: Runner) -> None:
    signal, unlike = runner.entry(), runner.entry("ETHUSDT", entry_price=1.0, stop_price=0.9)
    runner.publish(signal)
    runner.publish(unlike)
    assert runner.fill(signal.signal_id, "opened").dry_run
    assert runner.fill(unlike.signal_id, "rejected").dry_run


def test_health_check_passes_on_the_running_bot_and_fails_elsewhere(bot: Bot) -> None:
    script = str(ROOT / "freqtrade" / "healthcheck.py")

    def check(port: int, password: str) -> subprocess.CompletedProcess[str]:
        environ = {
            "FREQTRADE_API_URL": f"http://127.0.0.1:{port}",
            "FREQTRADE_API_PASSWORD": password,
        }
        return subprocess.run(
            [sys.executable, script], env=environ, capture_output=True, text=True, check=False
        )

    assert check(bot.port, PASSWORD).returncode == 0
    assert check(bot.port, "wrong").returncode == 1
    nobody = check(1, PASSWORD)
    assert nobody.returncode == 1
    assert nobody.stdout.startswith("unhealthy: the API at http://127.0.0.1:1 does not answer")


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://127.0.0.1:8081", 200), ("http://localhost:8081", 200), ("http://evil.test", 400)],
)
def test_api_admits_the_separate_ui_and_nobody_else(bot: Bot, origin: str, status: int) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    url = f"http://127.0.0.1:{bot.port}/api/v1/token/login"
    answer = requests.options(url, headers=asked, timeout=10)
    assert answer.status_code == status
    assert answer.headers.get("Access-Control-Allow-Origin") == (origin if status == 200 else None)


def test_secrets_stay_out_of_the_log(bot: Bot) -> None:
    assert PASSWORD not in bot.log
    assert JWT_SECRET not in bot.log
