"""What is written must be fit for real money."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.live import settings_checks as checks
from scripts.live.checklist import Item, fail, ok, passed, text, warn
from services.core.settings import ExecutorSettings, StrategySettings

CONFIG: dict[str, Any] = {
    "dry_run": False,
    "trading_mode": "futures",
    "margin_mode": "isolated",
    "stake_currency": "USDT",
    "stake_amount": 100,
    "tradable_balance_ratio": 1.0,
    "max_open_trades": 5,
    "exchange": {"name": "binance"},
    "order_types": {"stoploss": "market", "stoploss_on_exchange": True},
}
KEY, SECRET = "K" * 64, "S" * 64


def executor(**changes: Any) -> ExecutorSettings:
    """With both keys."""
    given = {"freqtrade_exchange_key": KEY, "freqtrade_exchange_secret": SECRET}
    return ExecutorSettings(**{**given, **changes})


def test_good_settings_pass() -> None:
    items = [
        checks.mode(CONFIG),
        checks.exchange(CONFIG),
        checks.keys(CONFIG, executor()),
        checks.stop(CONFIG, StrategySettings()),
        checks.margin(CONFIG),
        checks.protections(executor()),
        checks.open_trades(CONFIG, StrategySettings()),
        checks.balance(CONFIG, StrategySettings(), 450.0),
    ]
    assert {item.state for item in items} == {"OK"}
    assert KEY not in text(items)
    assert SECRET not in text(items)


@pytest.mark.parametrize(
    ("dry_run", "words"),
    [({"dry_run": False}, "real money"), ({"dry_run": True}, "simulated"), ({}, "simulated")],
)
def test_which_money_is_told(dry_run: dict[str, bool], words: str) -> None:
    assert checks.mode(dry_run).found.startswith(words)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (checks.exchange({**CONFIG, "exchange": {"name": "bybit"}}), "bybit"),
        (checks.exchange({**CONFIG, "trading_mode": "spot"}), "spot"),
        (checks.keys(CONFIG, executor(freqtrade_exchange_secret="")), "FREQTRADE_EXCHANGE_SECRET"),
        (checks.stop({**CONFIG, "order_types": {"stoploss": "market"}}, StrategySettings()), "off"),
        (
            checks.stop(
                {**CONFIG, "order_types": {"stoploss": "limit", "stoploss_on_exchange": True}},
                StrategySettings(),
            ),
            "limit",
        ),
        (
            checks.stop(CONFIG, StrategySettings(squeezeflow_catastrophic_stop=False)),
            "no stop",
        ),
        (checks.margin({**CONFIG, "margin_mode": "cross"}), "cross"),
        (checks.margin({**CONFIG, "margin_mode": ""}), "not set"),
        (checks.protections(executor(freqtrade_max_stops=0)), "FREQTRADE_MAX_STOPS off"),
        (
            checks.protections(executor(freqtrade_cooldown_min=0, freqtrade_max_drawdown=0.0)),
            "FREQTRADE_COOLDOWN_MIN, FREQTRADE_MAX_DRAWDOWN off",
        ),
        (checks.open_trades({**CONFIG, "max_open_trades": 2}, StrategySettings()), "2"),
        (checks.balance(CONFIG, StrategySettings(), 149.9), "149.90 USDT free"),
    ],
)
def test_what_is_wrong_fails_with_its_remedy(item: Item, words: str) -> None:
    assert item.state == "FAIL"
    assert words in item.found
    assert item.remedy


@pytest.mark.parametrize(
    ("available", "stake", "state"),
    [(150, 100, "WARN"), (449.9, 100, "WARN"), (450, 100, "OK"), (450, "unlimited", "WARN")],
)
def test_balance_should_carry_all_positions(available: float, stake: object, state: str) -> None:
    config = {**CONFIG, "stake_amount": stake}
    assert checks.balance(config, StrategySettings(), available).state == state


def test_no_limit_of_open_trades_is_enough() -> None:
    config = {**CONFIG, "max_open_trades": -1}
    assert checks.open_trades(config, StrategySettings()).state == "OK"
    assert checks.balance(config, StrategySettings(), 450.0).state == "OK"


def test_warnings_pass_and_failures_do_not() -> None:
    items = [ok("a", "fine"), warn("b", "so so", "improve it")]
    assert passed(items)
    assert text(items).splitlines() == [
        "OK    a: fine",
        "WARN  b: so so",
        "      remedy: improve it",
        "Ready for real money, with 1 warnings.",
    ]
    items.append(fail("c", "bad", "mend it"))
    assert not passed(items)
    assert text(items).splitlines()[-1] == "Not ready for real money: 1 of 3 failed."
