"""Parameters given on the command line: every one is checked, none is guessed."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from services.backtest.errors import BacktestError
from services.strategy.params import Params

_TYPES = typing.get_type_hints(Params)
MOST_COMBINATIONS = 10_000
LEAST = {"lookback_s": 14_400, "pattern_s": 60, "hist_min": 60, "range_candles": 1, "warm_min": 1}


def params_with(values: Mapping[str, Any]) -> Params:
    """The defaults with some values replaced. Raises `BacktestError` for values out of range."""
    params = dataclasses.replace(Params(), **values)
    for name, value in dataclasses.asdict(params).items():
        numbers = value if isinstance(value, tuple) else (value,)
        least = LEAST.get(name, 1 if name.endswith(("_w", "_windows")) else 0)
        timed = name.endswith(("_s", "_min", "_w", "_windows"))
        if timed and (not numbers or min(numbers) < least):
            raise BacktestError(f"{name}={value}: must be at least {least}")
    for name in ("div_windows", "ctx_windows"):
        unknown = set(getattr(params, name)) - set(params.scale_windows)
        if unknown:
            raise BacktestError(
                f"{name}={getattr(params, name)}: only windows of scale_windows, "
                f"{params.scale_windows}, have a scale"
            )
    if len(params.ctx_windows) != len(params.ctx_weights):
        raise BacktestError("ctx_windows and ctx_weights must be equally many")
    if params.scale_floor <= 0:
        raise BacktestError(
            f"scale_floor={params.scale_floor}: must be above 0, or a longer window whose flow "
            "cancels out has no scale"
        )
    if list(params.scale_windows) != sorted(set(params.scale_windows)):
        raise BacktestError(f"scale_windows={params.scale_windows}: must grow")
    return params


def parse_all(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """`name=value`, several of them. Raises `BacktestError`."""
    return dict(parse(option, text) for text in texts)


def parse(option: str, text: str) -> tuple[str, Any]:
    """`name=value`, the value in the parameter's own type. Raises `BacktestError`."""
    name, value = _split(option, text)
    return name, _value(option, name, value)


def parse_sweep(texts: Sequence[str]) -> dict[str, list[Any]]:
    """`name=a,b,c`; several numbers of one value are separated by `/`. Raises `BacktestError`."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        name, values = _split("--sweep", text)
        if name in found:
            raise BacktestError(f"--sweep {name} is given twice")
        chosen = [_value("--sweep", name, v.replace("/", ",")) for v in values.split(",")]
        found[name] = list(dict.fromkeys(chosen))
    return found


def combinations(sweep: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination, the last name running fastest. Raises `BacktestError` for too many."""
    names = list(sweep)
    count = 1
    for values in sweep.values():
        count *= len(values)
    if count > MOST_COMBINATIONS:
        raise BacktestError(
            f"--sweep asks for {count} combinations, at most {MOST_COMBINATIONS} are run; "
            "give fewer values"
        )
    return [dict(zip(names, values, strict=True)) for values in product(*sweep.values())]


def _split(option: str, text: str) -> tuple[str, str]:
    name, given, value = text.partition("=")
    name = name.strip()
    if not given or not value.strip():
        raise BacktestError(f"{option} {text}: write {option} name=value")
    if name not in _TYPES:
        near = difflib.get_close_matches(name, _TYPES, n=3, cutoff=0.5)
        hint = f"nearest: {', '.join(near)}" if near else "see --list-params"
        raise BacktestError(f"{option}: there is no parameter {name!r}; {hint}")
    return name, value.strip()


def _value(option: str, name: str, text: str) -> Any:
    wanted = _TYPES[name]
    try:
        if typing.get_origin(wanted) is not tuple:
            return _scalar(wanted, text)
        inner = typing.get_args(wanted)
        parts = [part for part in text.strip("()").split(",") if part.strip()]
        if Ellipsis not in inner and len(parts) != len(inner):
            raise ValueError(f"{len(inner)} numbers are needed")
        return tuple(_scalar(inner[0], part) for part in parts)
    except ValueError as error:
        raise BacktestError(
            f"{option} {name}={text}: {error}; the default is {getattr(Params(), name)}"
        ) from error


def _scalar(wanted: Any, text: str) -> Any:
    text = text.strip()
    if wanted is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("true or false is needed")
        return text.lower() == "true"
    if wanted is int:
        try:
            return int(text)
        except ValueError:
            raise ValueError("a whole number is needed") from None
    value = float(text)
    if not -1e9 < value < 1e9:
        raise ValueError("a finite number is needed")
    return value
