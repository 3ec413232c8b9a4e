"""Phase 3: the gap between the legs starts to close, quietly (A) or in one burst (B)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.scales import scale_of

SPEED_FROM_S = 60
RANGE_FROM_S = 300
RANGE_S = 300
STAGNATION_S = 300
EXPLOSION_FROM_S = 30


@dataclass(slots=True)
class Setup:
    """A divergence from its confirmation on.

    `anchor_t`: where the diverging window began; `c_spot`, `c_perp`, `x`: values there. `f_*`:
    scales frozen at confirmation. `gap` is the path G in units of the frozen scales, `peak` its
    maximum, reached at `peak_t`. `extreme`: lowest signed log price since the peak. `speed`,
    `adverse`, `span` (log range) have maxima since the peak.
    """

    direction: int
    setup_id: str
    detected_t: int
    window_min: int
    anchor_t: int
    c_spot: float
    c_perp: float
    x: float
    f_spot: float
    f_perp: float
    f_gap: float
    f_x30: float
    f_x5: float
    r5: float
    gap: float = 0.0
    peak: float = 0.0
    peak_t: int = 0
    extreme: float = 0.0
    speed: float = 0.0
    speed_max: float = 0.0
    adverse_max: float = 0.0
    span: float = 0.0
    span_max: float = 0.0
    stagnant_s: int = 0
    triggered_s: int = 0
    reset_type: str = ""
    reset_t: int = 0
    next_attempt_t: int = 0
    signals: int = 0
    gap_s: int = 0
    tests: int = 0
    last_test_flow: float = 0.0
    absorption: float = 0.0
    oi: tuple[str, float | None, float] = ("UNAVAILABLE", None, 0.0)

    @property
    def closed(self) -> float:
        """Share of the gap that has closed since its peak (rho)."""
        return 1.0 - self.gap / self.peak

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Setup:
        oi = values["oi"]
        return cls(**{**values, "oi": (oi[0], oi[1], oi[2])})

    def shift(self, spot: float, perp: float) -> None:
        """Follow a shift of the accumulators."""
        self.c_spot += spot
        self.c_perp += perp


def open_setup(history: History, base: str, direction: int, window_min: int) -> Setup:
    """Freeze the scales and find the peak so far; the divergence is confirmed in this second."""
    window, t = history.seconds, history.t
    assert t is not None
    seconds = 60 * window_min
    first = window.last - seconds
    setup = Setup(
        direction=direction,
        setup_id=f"{base}:{'long' if direction > 0 else 'short'}:{t}",
        detected_t=t,
        window_min=window_min,
        anchor_t=t - seconds,
        c_spot=window.c_spot[first],
        c_perp=window.c_perp[first],
        x=window.x[first],
        f_spot=history.spot.scale[window_min],
        f_perp=history.perp.scale[window_min],
        f_gap=history.gap_scale[window_min],
        f_x30=history.price.scale[30],
        f_x5=history.price.scale[5],
        r5=history.r5,
    )
    spot = (window.slice(window.c_spot, seconds + 1) - setup.c_spot) / setup.f_spot
    perp = (window.slice(window.c_perp, seconds + 1) - setup.c_perp) / setup.f_perp
    path = direction * (spot - perp) / setup.f_gap
    at = int(np.argmax(path))
    setup.gap, setup.peak, setup.peak_t = float(path[-1]), float(path[at]), setup.anchor_t + at
    since = seconds + 1 - at
    lows = window.slice(window.low, since) if direction > 0 else -window.slice(window.high, since)
    setup.extreme = float(lows.min())
    return setup


def follow(setup: Setup, history: History, params: Params, *, peak_frozen: bool) -> bool:
    """Bring gap, extreme and maxima up to the newest second; True if a new peak has started."""
    window, s = history.seconds, setup.direction
    last, t = window.last, setup.detected_t if history.t is None else history.t
    setup.gap = gap_at(setup, history, 0)
    if setup.gap > setup.peak and not peak_frozen:
        setup.peak, setup.peak_t = setup.gap, t
        setup.extreme = s * window.x[last]
        setup.speed = setup.speed_max = setup.adverse_max = setup.span_max = 0.0
        setup.tests, setup.last_test_flow, setup.absorption = 0, 0.0, 0.0
        setup.span = window.range(1)
        return True
    low = window.low[last] if s > 0 else -window.high[last]
    setup.extreme = min(setup.extreme, low)
    age = t - setup.peak_t
    k = min(params.v_w, age)
    setup.speed = gap_at(setup, history, k) - setup.gap
    setup.span = window.range(min(RANGE_S, age + 1))
    if age >= SPEED_FROM_S:
        setup.speed_max = max(setup.speed_max, setup.speed)
        adverse = -s * (window.c_spot[last] - window.c_spot[last - k]) / setup.f_spot
        setup.adverse_max = max(setup.adverse_max, adverse)
    if age >= RANGE_FROM_S:
        setup.span_max = max(setup.span_max, setup.span)
    return False


def gap_at(setup: Setup, history: History, age: int) -> float:
    """G, `age` seconds before the newest second."""
    window = history.seconds
    i = window.last - age
    spot = (window.c_spot[i] - setup.c_spot) / setup.f_spot
    perp = (window.c_perp[i] - setup.c_perp) / setup.f_perp
    return setup.direction * (spot - perp) / setup.f_gap


def z_over(history: History, seconds: int) -> tuple[float, float, float]:
    """Change of spot CVD, perp CVD and log price over `seconds`, in current scales."""
    window = history.seconds
    last = window.last
    first = last - seconds
    return (
        (window.c_spot[last] - window.c_spot[first]) / scale_of(history.spot.scale, seconds),
        (window.c_perp[last] - window.c_perp[first]) / scale_of(history.perp.scale, seconds),
        (window.x[last] - window.x[first]) / scale_of(history.price.scale, seconds),
    )


def exhausted(setup: Setup, history: History, params: Params) -> bool:
    """Type A in this second: much of the gap has closed, the closing and the price stall."""
    window = history.seconds
    t = setup.detected_t if history.t is None else history.t
    if t - setup.peak_t < params.reset_min_s or setup.closed < params.conv_a:
        return False
    if setup.speed_max <= 0.0 or setup.speed > params.exh_frac * setup.speed_max:
        return False
    drift = abs(window.x[window.last] - window.x[window.last - STAGNATION_S])
    return drift <= params.stag_z * setup.f_x5 and setup.span <= params.stag_rng * setup.r5


def explosive(setup: Setup, history: History, params: Params) -> bool:
    """Type B in this second: a large move in the trade direction, carried by both legs."""
    t = setup.detected_t if history.t is None else history.t
    if t - setup.peak_t < EXPLOSION_FROM_S or setup.closed < params.conv_b:
        return False
    s = setup.direction
    z_spot, z_perp, z_price = z_over(history, params.expl_w)
    return s * z_price >= params.expl_z and s * z_spot >= params.expl_flow_z and s * z_perp >= 0.0
