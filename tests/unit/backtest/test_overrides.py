from __future__ import annotations

import pytest

from services.backtest import overrides
from services.backtest.errors import BacktestError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("min_score=5.5", 5.5),
        ("min_score=5", 5.0),
        ("cooldown_s=600", 600),
        ("oi_required=true", True),
        ("cat_enabled=False", False),
        ("div_windows=15", (15,)),
        ("div_windows=30,15", (30, 15)),
        ("oi_points=(1, 0.5, -1)", (1.0, 0.5, -1.0)),
    ],
)
def test_a_value_takes_the_parameters_type(text: str, value: object) -> None:
    name, parsed = overrides.parse("--set", text)
    assert (parsed, type(parsed)) == (value, type(value))
    assert getattr(overrides.params_with({name: parsed}), name) == value


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("min_scor=5", "no parameter 'min_scor'; nearest: min_score"),
        ("zzzzzz=5", "see --list-params"),
        ("min_score", "write --set name=value"),
        ("cooldown_s=1.5", "a whole number is needed; the default is 900"),
        ("min_score=nan", "a finite number is needed"),
        ("cat_enabled=1", "true or false"),
        ("oi_points=1,2", "3 numbers are needed"),
    ],
)
def test_a_wrong_parameter_is_refused_with_the_remedy(text: str, cause: str) -> None:
    with pytest.raises(BacktestError) as raised:
        overrides.parse("--set", text)
    assert cause in str(raised.value)


@pytest.mark.parametrize(
    "values",
    [
        {"cooldown_s": -1},
        {"v_w": 0},
        {"lookback_s": 3600},
        {"warm_min": 0},
        {"div_windows": (7,)},
        {"div_windows": ()},
        {"ctx_windows": (30,)},
        {"scale_windows": (5, 1, 15, 30, 60, 240)},
        {"scale_floor": 0.0},
    ],
)
def test_values_the_method_cannot_work_with_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(BacktestError, match=next(iter(values))):
        overrides.params_with(values)


def test_a_sweep_is_every_combination_in_a_fixed_order() -> None:
    grid = overrides.parse_sweep(["min_score=4,5", "div_windows=30/15,15"])
    assert overrides.combinations(grid) == [
        {"min_score": 4.0, "div_windows": (30, 15)},
        {"min_score": 4.0, "div_windows": (15,)},
        {"min_score": 5.0, "div_windows": (30, 15)},
        {"min_score": 5.0, "div_windows": (15,)},
    ]
    assert overrides.combinations({}) == [{}]


def test_a_sweep_that_is_too_large_is_refused() -> None:
    values = list(range(200))
    with pytest.raises(BacktestError, match="40000 combinations"):
        overrides.combinations({"cooldown_s": values, "max_hold_s": values})


def test_a_parameter_is_swept_once() -> None:
    with pytest.raises(BacktestError, match="given twice"):
        overrides.parse_sweep(["min_score=4", "min_score=5"])
