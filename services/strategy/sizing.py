"""Size, leverage, confidence and catastrophic stop of an entry."""

from __future__ import annotations

from typing import NamedTuple

from services.strategy.params import Params
from services.strategy.scales import clip

TIERS = ((8.0, 1.5, 5), (6.0, 1.0, 3), (0.0, 0.5, 2))


class Size(NamedTuple):
    """`stop_distance`: log distance of the catastrophic stop from the entry, None if disabled."""

    factor: float
    leverage: int
    stop_distance: float | None


def tier(score: float) -> tuple[float, int]:
    """Size factor and leverage that a score earns."""
    return next((factor, leverage) for floor, factor, leverage in TIERS if score >= floor)


def confidence(score: float, coverage: float) -> float:
    """0 to 1, growing with score and with the covered share of the volume."""
    return clip(coverage * (0.35 + 0.06 * score), 0.0, 1.0)


def size(score: float, hour_scale: float, level_distance: float, r5: float, params: Params) -> Size:
    """Size an entry.

    `hour_scale`: scale of the one-hour log return. `level_distance`: log distance of the
    invalidation level; the stop lies beyond it, and leverage shrinks where it would be liquidated
    before the stop.
    """
    factor, leverage = tier(score)
    leverage = min(leverage, params.max_leverage)
    if not params.cat_enabled:
        return Size(factor, leverage, None)
    distance = clip(params.cat_mult * hour_scale, params.cat_lo, params.cat_hi)
    if distance <= level_distance:
        distance = level_distance + r5
    leverage = max(1, min(leverage, int(params.cat_liq / distance)))
    return Size(factor, leverage, min(distance, params.cat_liq / leverage))
