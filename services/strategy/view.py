"""What the strategy sees in the newest second, phase by phase: the record of a decision."""

from __future__ import annotations

from dataclasses import asdict
from math import exp, isfinite
from typing import TYPE_CHECKING, Any

from services.strategy import divergence, exits
from services.strategy.context import duration_potential
from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.score import chase_limit

if TYPE_CHECKING:
    from services.strategy.machine import Machine


def describe(history: History, machine: Machine, params: Params) -> dict[str, Any]:
    """Current values of all five phases; None stands for a value that is not defined now."""
    c_spot, c_perp = history.seconds.latest
    values = {
        "t": history.t,
        "state": machine.state.value,
        "direction": machine.direction,
        "price": history.close,
        "c_spot": c_spot,
        "c_perp": c_perp,
        "coverage": machine.coverage,
        "degraded": machine.degraded,
        "thin": history.thin,
        "minutes": history.x_closes.length,
        "r5": history.r5,
        "cooldown_until": machine.cooldown_until,
        "blocked": {str(k): v for k, v in machine.detector.blocked_since.items()},
        "context": _context(history),
        "scales": _scales(history),
        "divergence": _divergence(history, machine, params),
        "reset": _reset(machine),
        "score": _score(machine, params),
        "exit": _exit(history, machine, params),
        "params": asdict(params),
    }
    finite: dict[str, Any] = _finite(values)
    return finite


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value


def _context(history: History) -> dict[str, Any]:
    return {
        "environment": history.environment.value,
        "k": history.k,
        "duration_potential": duration_potential(history.k),
        "z_price_hour": history.z_price_hour,
        "gap": {str(w): gap for w, gap in history.context_gaps.items()},
    }


def _scales(history: History) -> dict[str, Any]:
    return {
        str(w): {
            "spot": history.spot.scale[w],
            "perp": history.perp.scale[w],
            "price": history.price.scale[w],
        }
        for w in history.price.scale
    }


def _divergence(history: History, machine: Machine, params: Params) -> dict[str, Any]:
    held = machine.detector.held
    windows: dict[str, Any] = {}
    for w in params.div_windows:
        if not divergence.usable(history, w, params):
            windows[str(w)] = None
            continue
        direction = divergence.opposed(history, w, 0.0)
        found = divergence.measure(history, direction or 1, w, params)
        windows[str(w)] = {**found._asdict(), "direction": direction, "holds": found.holds}
    return {"windows": windows, "long_s": held[1], "short_s": held[-1]}


def _reset(machine: Machine) -> dict[str, Any] | None:
    setup = machine.setup
    if setup is None:
        return None
    return {
        **setup.as_dict(),
        "oi": {"state": setup.oi[0], "z": setup.oi[1], "points": setup.oi[2]},
        "closed": setup.closed,
        "extreme_price": exp(setup.direction * setup.extreme),
    }


def _score(machine: Machine, params: Params) -> dict[str, Any] | None:
    setup, score = machine.setup, machine.score
    if setup is None or score is None:
        return None
    return {
        "total": score.total,
        "parts": score.breakdown(),
        "z_spot": score.z_spot,
        "z_perp": score.z_perp,
        "z_price": score.z_price,
        "lift": score.lift,
        "trigger": {
            "score": score.total >= params.min_score,
            "spot": score.z_spot >= params.trig_z,
            "price": score.z_price > 0.0,
            "lift": params.lift_min <= score.lift <= chase_limit(setup, params),
            "held_s": setup.triggered_s,
        },
    }


def _exit(history: History, machine: Machine, params: Params) -> dict[str, Any] | None:
    position = machine.position
    if position is None:
        return None
    values: dict[str, Any] = {
        **position.as_dict(),
        "level_price": exp(position.direction * position.level),
    }
    if position.based and not history.thin:
        values["flows"] = exits.measure(position, history, params)._asdict()
    return values
