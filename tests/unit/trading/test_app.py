"""Every setting of the method acts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.core.settings import StrategySettings
from services.strategy.params import Params
from services.trading.app import entry_limits, strategy_params

CHANGED: list[tuple[str, Any, str, Any]] = [
    ("squeezeflow_lookback_hours", 6, "lookback_s", 21_600),
    ("squeezeflow_timeframe", "15m", "pattern_s", 900),
    ("squeezeflow_div_gap_z", 2.5, "div_gap_z", 2.5),
    ("squeezeflow_min_score", 6.0, "min_score", 6.0),
    ("squeezeflow_oi_required", True, "oi_required", True),
    ("squeezeflow_cost_mult", 1.0, "cost_mult", 1.0),
    ("squeezeflow_round_trip_cost", 0.002, "round_trip_cost", 0.002),
    ("squeezeflow_max_hold_s", 3600, "max_hold_s", 3600),
    ("squeezeflow_cooldown_s", 60, "cooldown_s", 60),
    ("squeezeflow_catastrophic_stop", False, "cat_enabled", False),
    ("squeezeflow_gap_exit", False, "gap_exit_enabled", False),
    ("squeezeflow_max_leverage", 2, "max_leverage", 2),
    ("squeezeflow_max_open_positions", 1, "max_open_positions", 1),
    ("squeezeflow_max_daily_loss", 0.02, "max_daily_loss", 0.02),
]


def test_unchanged_settings_are_the_parameters_of_the_method() -> None:
    assert strategy_params(StrategySettings()) == Params()


@pytest.mark.parametrize(("setting", "value", "name", "expected"), CHANGED)
def test_a_setting_becomes_a_parameter(setting: str, value: Any, name: str, expected: Any) -> None:
    settings = msgspec.structs.replace(StrategySettings(), **{setting: value})
    assert getattr(strategy_params(settings), name) == expected


def test_the_validator_has_the_same_limits() -> None:
    limits = entry_limits(Params(min_score=6.0, max_leverage=2, max_open_positions=1))
    assert (limits.min_score, limits.max_leverage, limits.max_open_positions) == (6.0, 2, 1)
