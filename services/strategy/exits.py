"""Phase 5: when the reason for a position is gone."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import Any, NamedTuple

from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.reset import z_over
from services.strategy.scales import clip

MIN_ELAPSED_S = 300
MAX_ELAPSED_S = 14_400
FAST_S = 300
SLOW_S = 900
ELAPSED_MIN = (5, 15, 30, 60, 240)
"""Windows whose scales a change since the entry is measured in."""

RANGE_BREAK = "RANGE_BREAK"
FLOW_REVERSAL = "FLOW_REVERSAL"
FLOW_REVERSAL_GIVEBACK = "FLOW_REVERSAL_GIVEBACK"
LTF_INVALIDATION = "LTF_INVALIDATION"
CVD_TREND = "CVD_TREND"
MAX_HOLD = "MAX_HOLD"
DATA_LOSS = "DATA_LOSS"

FLOW_REASONS = (FLOW_REVERSAL, FLOW_REVERSAL_GIVEBACK, LTF_INVALIDATION, CVD_TREND)
FLOW_CONDITIONS = (FLOW_REVERSAL, FLOW_REVERSAL_GIVEBACK, CVD_TREND)
REASONS = (RANGE_BREAK, *FLOW_REASONS)


@dataclass(slots=True)
class Position:
    """An open position and for how long each exit condition has held.

    `level`: signed log price of the invalidation. `c_spot`, `c_perp`: accumulators at the fill
    second `entry_t`; `based` is False while that second is still to come. `best_spot`: largest
    favourable change of spot CVD since.
    """

    trade_id: int
    signal_id: str
    setup_id: str
    direction: int
    entry_t: int
    entry_price: float
    level: float
    r5: float
    score: float
    c_spot: float = 0.0
    c_perp: float = 0.0
    based: bool = False
    best_spot: float = 0.0
    held: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    gap_s: int = 0
    exit_reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "held": dict(self.held)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Position:
        return cls(**{**values, "held": dict(values["held"])})

    def shift(self, spot: float, perp: float) -> None:
        """Follow a shift of the accumulators."""
        self.c_spot += spot
        self.c_perp += perp


class Flows(NamedTuple):
    """Changes in the direction of the position, in scales: since entry, and over 5 and 15 min."""

    spot: float
    perp: float
    best: float
    spot_5: float
    perp_5: float
    spot_15: float
    perp_15: float


def measure(position: Position, history: History, params: Params) -> Flows:
    """Flows at the newest second; the scales must be positive.

    A window that is not loaded or has too many holes counts as no flow, which meets no condition;
    of the time since entry, what the window holds is looked at.
    """
    window, s = history.seconds, position.direction
    last = window.last
    held_s = _elapsed(position, history)
    elapsed = clip(held_s, MIN_ELAPSED_S, MAX_ELAPSED_S)
    k = max(w for w in ELAPSED_MIN if 60 * w <= elapsed)
    root = sqrt(elapsed / (60 * k))
    scale = history.spot.scale[k] * root
    fast, slow = (
        z_over(history, seconds) if window.whole(seconds, params.hole_max) else (0.0, 0.0, 0.0)
        for seconds in (FAST_S, SLOW_S)
    )
    known_s = min(held_s, window.length - 1)
    since_entry = (0.0, 0.0, 0.0)
    if known_s < 1 or window.whole(known_s, params.hole_max):
        since_entry = (
            s * (window.c_spot[last] - position.c_spot) / scale,
            s * (window.c_perp[last] - position.c_perp) / (history.perp.scale[k] * root),
            position.best_spot / scale,
        )
    return Flows(
        *since_entry,
        s * fast[0],
        s * fast[1],
        s * slow[0],
        s * slow[1],
    )


def conditions(position: Position, flows: Flows, params: Params) -> dict[str, bool]:
    """The exits that depend on flow, in one second."""
    p = params
    return {
        FLOW_REVERSAL: (
            flows.spot <= -p.exit_flow_z and flows.perp >= p.exit_perp_z and flows.spot_5 < 0.0
        ),
        FLOW_REVERSAL_GIVEBACK: (
            flows.best >= p.giveback_min_z
            and flows.spot <= p.giveback * flows.best
            and flows.spot_5 <= -p.cti_fast_z
            and flows.spot_15 <= -p.giveback_perp_z
            and flows.perp > 0.0
            and flows.perp_15 >= p.giveback_perp_z
        ),
        CVD_TREND: (
            flows.spot_15 <= -p.cti_z
            and flows.perp_15 <= -p.cti_z
            and flows.spot_5 <= -p.cti_fast_z
            and flows.perp_5 <= -p.cti_fast_z
        ),
    }


def check(position: Position, history: History, params: Params, *, degraded: bool) -> str:
    """Count the newest second; the reason to close now, empty if there is none.

    In untrusted seconds only the price level counts, as long as the price is alive.
    """
    held, s = position.held, position.direction
    position.gap_s = position.gap_s + 1 if degraded else 0
    window = history.seconds
    broken = s * window.x[window.last] < position.level
    if degraded:
        for reason in FLOW_REASONS:
            held[reason] = 0
        broken = broken and history.price_alive
    else:
        _count_flows(position, history, params)
    held[RANGE_BREAK] = held[RANGE_BREAK] + 1 if broken else 0
    if any(held.values()):
        least = needed(params)
        for reason in REASONS:
            if held[reason] >= least[reason]:
                return reason
    if params.max_hold_s and _elapsed(position, history) >= params.max_hold_s:
        return MAX_HOLD
    if params.gap_exit_enabled and position.gap_s >= params.gap_exit_s:
        return DATA_LOSS
    return ""


def _count_flows(position: Position, history: History, params: Params) -> None:
    held, s = position.held, position.direction
    window = history.seconds
    change = s * (window.c_spot[window.last] - position.c_spot)
    position.best_spot = max(position.best_spot, change)
    against = history.context_sign == -s
    held[LTF_INVALIDATION] = held[LTF_INVALIDATION] + 1 if against else 0
    if params.cti_fast_z > 0.0 and not _leaving(history, s, params):
        for reason in FLOW_CONDITIONS:
            held[reason] = 0
        return
    for reason, holds in conditions(position, measure(position, history, params), params).items():
        held[reason] = held[reason] + 1 if holds else 0


def _leaving(history: History, direction: int, params: Params) -> bool:
    """Whether spot traders have lately gone against the position, which every flow exit needs."""
    window = history.seconds
    if not window.whole(FAST_S, params.hole_max):
        return False
    change = window.c_spot[window.last] - window.c_spot[window.last - FAST_S]
    return direction * change < 0.0


def needed(params: Params) -> dict[str, int]:
    """Seconds in a row for which a condition must hold."""
    return {
        RANGE_BREAK: params.rb_confirm_s,
        FLOW_REVERSAL: params.exit_confirm_s,
        FLOW_REVERSAL_GIVEBACK: params.exit_confirm_s,
        LTF_INVALIDATION: params.ltf_confirm_s,
        CVD_TREND: params.exit_confirm_s,
    }


def _elapsed(position: Position, history: History) -> int:
    return 0 if history.t is None else history.t - position.entry_t
