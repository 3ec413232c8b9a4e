"""The entry event: what is to be ordered, and why."""

from __future__ import annotations

from math import exp
from typing import Any

from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.reset import Setup
from services.strategy.score import Score
from services.strategy.sizing import confidence, size
from services.strategy.types import Entry

MAX_REASONING = 300


def level(setup: Setup, params: Params) -> float:
    """Signed log price under which the setup is wrong."""
    return setup.extreme - params.rb_buf * setup.r5


def build(
    setup: Setup,
    score: Score,
    history: History,
    params: Params,
    *,
    coverage: float,
    record: dict[str, Any],
) -> Entry:
    """The entry of a setup whose trigger has fired in the newest second."""
    assert history.t is not None
    window, s = history.seconds, setup.direction
    invalidation = level(setup, params)
    distance = s * window.x[window.last] - invalidation
    sized = size(score.total, history.price.scale[60], distance, setup.r5, params)
    c_spot, c_perp = window.latest
    return Entry(
        t=history.t,
        direction=s,
        setup_id=setup.setup_id,
        score=score.total,
        breakdown=score.breakdown(),
        size_factor=sized.factor,
        leverage=sized.leverage,
        confidence=confidence(score.total, coverage),
        reset_type=setup.reset_type,
        environment=history.environment,
        context_k=history.k,
        oi_state=setup.oi[0],
        oi_z=setup.oi[1],
        coverage=coverage,
        entry_price=history.close,
        invalidation_price=exp(s * invalidation),
        max_deviation=params.max_dev_r5 * setup.r5,
        stop_distance=sized.stop_distance,
        spot_cvd=c_spot,
        perp_cvd=c_perp,
        reasoning=_reasoning(setup, score, history)[:MAX_REASONING],
        record=record,
        number=setup.signals + 1,
    )


def _reasoning(setup: Setup, score: Score, history: History) -> str:
    side = "long" if setup.direction > 0 else "short"
    return (
        f"{side} after a {setup.window_min} min spot/perp divergence of {setup.peak:.2f} scales, "
        f"{setup.closed:.0%} closed, reset {setup.reset_type}, {setup.tests} tests, "
        f"context {history.environment} ({history.k:+.2f}), open interest {setup.oi[0].lower()}, "
        f"spot {score.z_spot:+.2f} perp {score.z_perp:+.2f} price {score.z_price:+.2f} z, "
        f"{score.lift:.2f} ranges off the extreme"
    )
