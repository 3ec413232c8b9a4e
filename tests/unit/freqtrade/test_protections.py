"""Settings become freqtrade's protections."""

from __future__ import annotations

from services.core.settings import ExecutorSettings
from squeezeflow.protections import chosen


def test_defaults_lock_after_a_trade_after_stops_and_after_a_drawdown() -> None:
    found = {one.pop("method"): one for one in chosen(ExecutorSettings())}
    assert found == {
        "CooldownPeriod": {"stop_duration": 5, "lookback_period": 5},
        "StoplossGuard": {"trade_limit": 3, "lookback_period": 1440, "stop_duration": 720},
        "MaxDrawdown": {
            "calculation_mode": "equity",
            "max_allowed_drawdown": 0.1,
            "trade_limit": 1,
            "lookback_period": 1440,
            "stop_duration": 720,
        },
    }


def test_zero_switches_off() -> None:
    settings = ExecutorSettings(
        freqtrade_cooldown_min=0, freqtrade_max_stops=0, freqtrade_max_drawdown=0.0
    )
    assert chosen(settings) == []


def test_periods_can_be_chosen() -> None:
    settings = ExecutorSettings(
        freqtrade_cooldown_min=0,
        freqtrade_max_drawdown=0.0,
        freqtrade_max_stops=2,
        freqtrade_protection_window_min=30,
        freqtrade_protection_lock_min=10,
    )
    (guard,) = chosen(settings)
    assert (guard["trade_limit"], guard["lookback_period"], guard["stop_duration"]) == (2, 30, 10)
