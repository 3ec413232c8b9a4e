"""Phase 1: which side is trapped, seen over hours."""

from __future__ import annotations

from collections.abc import Mapping

from services.strategy.params import Params
from services.strategy.scales import clip
from services.strategy.types import Environment

SIGN = {Environment.SHORT_SQUEEZE: 1, Environment.LONG_SQUEEZE: -1, Environment.NEUTRAL: 0}
PRICE_WINDOW_MIN = 60
HIGH_STRENGTH = 0.8
MEDIUM_STRENGTH = 0.55


def strength(gaps: Mapping[int, float], params: Params) -> float:
    """K in [-1, 1] from the gap score of each context window; positive: shorts are trapped."""
    return sum(
        weight * clip(gaps[w] / params.ctx_z, -1.0, 1.0)
        for w, weight in zip(params.ctx_windows, params.ctx_weights, strict=True)
    )


def next_environment(current: Environment, k: float, z_price: float, params: Params) -> Environment:
    """Environment after a minute closed. `z_price`: price change of the last hour in scales."""
    if k >= params.ctx_on and z_price >= -params.ctx_price_z:
        return Environment.SHORT_SQUEEZE
    if k <= -params.ctx_on and z_price <= params.ctx_price_z:
        return Environment.LONG_SQUEEZE
    sign = SIGN[current]
    if sign and (sign * k < params.ctx_off or sign * z_price < -params.ctx_price_z):
        return Environment.NEUTRAL
    return current


def duration_potential(k: float) -> str:
    """HIGH, MEDIUM or LOW: how long a squeeze out of this context may last."""
    if abs(k) >= HIGH_STRENGTH:
        return "HIGH"
    return "MEDIUM" if abs(k) >= MEDIUM_STRENGTH else "LOW"
