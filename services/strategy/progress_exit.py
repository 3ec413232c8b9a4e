"""How far an open position is from each reason to leave it."""

from __future__ import annotations

from math import exp
from typing import NamedTuple

from services.strategy.condition import (
    LEAST,
    MOST,
    Bound,
    Condition,
    flag,
    held,
    least,
    most,
    passed,
)
from services.strategy.exits import (
    CVD_TREND,
    DATA_LOSS,
    FLOW_REVERSAL,
    FLOW_REVERSAL_GIVEBACK,
    LTF_INVALIDATION,
    MAX_HOLD,
    RANGE_BREAK,
    Flows,
    Position,
    measure,
    needed,
)
from services.strategy.history import History
from services.strategy.params import Params


class Giveback(NamedTuple):
    """Share of the best spot flow since the entry that has been given back, 0 to 1, and how much
    of it ends the position together with the rest of that exit's conditions."""

    share: float
    needed: float


def giveback(position: Position, history: History, params: Params) -> Giveback | None:
    """None while the flow has not gone the position's way at all."""
    if not position.based or position.best_spot <= 0.0:
        return None
    window = history.seconds
    change = position.direction * (window.c_spot[window.last] - position.c_spot)
    share = 1.0 - change / position.best_spot
    return Giveback(min(1.0, max(0.0, share)), 1.0 - params.giveback)


def exit_conditions(
    position: Position, history: History, params: Params, execution: float
) -> list[Condition]:
    """One way for each exit. `execution`: price on the execution market over the reference."""
    if not position.based:
        return [flag("baseline", "the second of the fill is still to come", False)]
    flows = None if history.thin else measure(position, history, params)
    least_s = needed(params)
    found = _range_break(position, history, execution)
    found += _flow_reversal(flows, params)
    found += _giveback(flows, params)
    found += _context(position, history)
    found += _trend(flows, params)
    ways = {one.way: None for one in found}
    for way in ways:
        found.append(held("held", position.held[way], least_s[way], way=way))
    elapsed_s = 0 if history.t is None else history.t - position.entry_t
    if params.max_hold_s:
        found.append(passed("age", "time in trade", elapsed_s, params.max_hold_s, way=MAX_HOLD))
    if params.gap_exit_enabled:
        found.append(
            passed("gap", "data missing", position.gap_s, params.gap_exit_s, way=DATA_LOSS)
        )
    return found


def _figures(flows: Flows | None, *names: str) -> list[float | None]:
    return [None if flows is None else getattr(flows, name) for name in names]


def _range_break(position: Position, history: History, execution: float) -> list[Condition]:
    window, s = history.seconds, position.direction
    have = history.close * execution
    need = exp(s * position.level) * execution
    broken = s * window.x[window.last] < position.level
    bound: Bound = MOST if s > 0 else LEAST
    text = f"price {have:.8g} {'below' if s > 0 else 'above'} {need:.8g}"
    return [Condition("level", text, broken, have, need, bound, "price", way=RANGE_BREAK)]


def _flow_reversal(flows: Flows | None, params: Params) -> list[Condition]:
    p, way = params, FLOW_REVERSAL
    spot, perp, spot_5 = _figures(flows, "spot", "perp", "spot_5")
    turned = spot_5 is not None and spot_5 < 0.0
    return [
        most("spot", "spot CVD its way since the entry", spot, -p.exit_flow_z, way=way),
        least("perp", "perp CVD its way since the entry", perp, p.exit_perp_z, way=way),
        most("spot_5", "spot CVD its way, 5 min", spot_5, 0.0, met=turned, way=way),
    ]


def _giveback(flows: Flows | None, params: Params) -> list[Condition]:
    p, way = params, FLOW_REVERSAL_GIVEBACK
    best, perp, perp_15 = _figures(flows, "best", "perp", "perp_15")
    spot_5, spot_15 = _figures(flows, "spot_5", "spot_15")
    lost, gone = None, False
    if flows is not None and flows.best > 0.0:
        lost = 1.0 - flows.spot / flows.best
        gone = flows.spot <= p.giveback * flows.best
    stays = perp is not None and perp > 0.0
    return [
        least("best", "best spot CVD since the entry", best, p.giveback_min_z, way=way),
        least("lost", "share of it lost", lost, 1.0 - p.giveback, "share", met=gone, way=way),
        most("spot_5", "spot CVD its way, 5 min", spot_5, -p.cti_fast_z, way=way),
        most("spot_15", "spot CVD its way, 15 min", spot_15, -p.giveback_perp_z, way=way),
        least("perp", "perp CVD its way since the entry", perp, 0.0, met=stays, way=way),
        least("perp_15", "perp CVD its way, 15 min", perp_15, p.giveback_perp_z, way=way),
    ]


def _context(position: Position, history: History) -> list[Condition]:
    side = "long" if position.direction > 0 else "short"
    against = history.context_sign == -position.direction
    environment, k = history.environment.value, history.k
    text = f"context {environment} ({k:+.2f}) opposes the {side}"
    return [flag("context", text, against, way=LTF_INVALIDATION)]


def _trend(flows: Flows | None, params: Params) -> list[Condition]:
    p, way = params, CVD_TREND
    spot_15, perp_15 = _figures(flows, "spot_15", "perp_15")
    spot_5, perp_5 = _figures(flows, "spot_5", "perp_5")
    return [
        most("spot_15", "spot CVD its way, 15 min", spot_15, -p.cti_z, way=way),
        most("perp_15", "perp CVD its way, 15 min", perp_15, -p.cti_z, way=way),
        most("spot_5", "spot CVD its way, 5 min", spot_5, -p.cti_fast_z, way=way),
        most("perp_5", "perp CVD its way, 5 min", perp_5, -p.cti_fast_z, way=way),
    ]
