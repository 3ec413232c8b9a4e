"""Phase 4: how good the reset is, 0 to 10 points, and whether to enter now."""

from __future__ import annotations

from typing import NamedTuple

from services.strategy.candles import Candle, Candles
from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.reset import Setup, z_over
from services.strategy.scales import clip, ramp

MAX_SCORE = 10.0
DAY_MIN = 1_440
TEST_FLOW_MIN = 2
ABSORPTION_CANDLES = 3
VOLUME_CANDLES = 20
NEAR_EXTREME = 0.5
FAST_WEIGHT = 0.6
NEUTRAL_CONTEXT = 0.4


class Score(NamedTuple):
    """Points of the five parts and the figures the trigger needs.

    `z_*`: signed by direction, over the bias window. `lift`: distance from the extreme in R5.
    """

    deceleration: float
    absorption: float
    failed_breakdown: float
    bias: float
    open_interest: float
    z_spot: float
    z_perp: float
    z_price: float
    lift: float

    @property
    def total(self) -> float:
        return clip(sum(self[:5]), 0.0, MAX_SCORE)

    def breakdown(self) -> dict[str, float]:
        """Points by part."""
        return {
            "cvd_reset_deceleration": self.deceleration,
            "absorption_candle": self.absorption,
            "failed_breakdown": self.failed_breakdown,
            "directional_bias": self.bias,
            "oi_confirmation": self.open_interest,
        }


class Bar(NamedTuple):
    """A candle as the trade sees it: prices of a short are negated."""

    open: float
    high: float
    low: float
    close: float


def signed(candle: Candle, direction: int) -> Bar:
    """Mirror high and low of a short."""
    if direction > 0:
        return Bar(candle.open, candle.high, candle.low, candle.close)
    return Bar(-candle.open, -candle.low, -candle.high, -candle.close)


def find_tests(candles: list[Candle], setup: Setup, params: Params) -> tuple[int, float]:
    """Number of tests of the reset extreme, and the adverse spot flow of the last one.

    `candles`: consecutive closed one-minute candles; those before the peak only serve the flow. A
    test comes back to the lowest low after having bounced away, and closes off it.
    """
    tests, flow = 0, 0.0
    level: float | None = None
    away = False
    for i, candle in enumerate(candles):
        if candle.t < setup.peak_t:
            continue
        bar = signed(candle, setup.direction)
        if level is None:
            level = bar.low
            continue
        if away and bar.low <= level + params.test_tol * setup.r5:
            closes_off = bar.close - bar.low >= params.test_close * (bar.high - bar.low)
            if bar.close > level and closes_off:
                before = candles[max(0, i - TEST_FLOW_MIN)]
                change = setup.direction * (candle.c_spot - before.c_spot)
                tests, flow = tests + 1, max(0.0, -change / setup.f_spot)
                away = False
        if bar.close <= level:
            away = False
        level = min(level, bar.low)
        if bar.close >= level + params.bounce * setup.r5:
            away = True
    return tests, flow


def absorption(setup: Setup, patterns: Candles, minutes: Candles) -> float:
    """Quality, 0 to 1, of the best candle that rejected prices near the reset extreme."""
    best = 0.0
    for candles, weight in ((patterns, 1.0), (minutes, FAST_WEIGHT)):
        recent = candles.since(setup.peak_t, ABSORPTION_CANDLES)
        if not recent:
            continue
        spot, perp = candles.median_volumes(VOLUME_CANDLES)
        for candle in recent:
            volume = 0.5 * (
                (candle.spot_volume / spot if spot else 0.0)
                + (candle.perp_volume / perp if perp else 0.0)
            )
            bar = signed(candle, setup.direction)
            best = max(best, weight * rejection(bar, volume, setup.extreme, setup.r5))
    return best


def rejection(bar: Bar, volume_ratio: float, extreme: float, r5: float) -> float:
    """Quality, 0 to 1, of one signed candle; 0 if it is not near the extreme or closes under it."""
    span = bar.high - bar.low
    if span <= 0.0 or bar.low > extreme + NEAR_EXTREME * r5 or bar.close <= extreme:
        return 0.0
    return (
        0.35 * ramp((min(bar.open, bar.close) - bar.low) / span, 0.2, 0.5)
        + 0.25 * (bar.close > bar.open)
        + 0.20 * ramp((bar.close - bar.low) / span, 0.5, 0.8)
        + 0.20 * ramp(volume_ratio, 1.0, 2.0)
    )


def refresh_patterns(setup: Setup, history: History, params: Params) -> None:
    """Recompute what only closed candles and minute closes can change."""
    since = history.minutes.since(setup.peak_t - 180, DAY_MIN)
    setup.tests, setup.last_test_flow = find_tests(since, setup, params)
    setup.absorption = absorption(setup, history.patterns, history.minutes)
    confirmation = confirm_open_interest(setup, history)
    setup.oi = (str(confirmation[0]), confirmation[1], confirmation[2])


def confirm_open_interest(setup: Setup, history: History) -> tuple[str, float | None, float]:
    """Change of open interest from the anchor to the peak of the gap."""
    assert history.t is not None
    newest = (history.t + 1) // 60 - 1
    anchor = newest - setup.anchor_t // 60
    peak = max(0, newest - setup.peak_t // 60)
    return history.open_interest.confirm(anchor, peak)


def compute(setup: Setup, history: History, params: Params) -> Score:
    """Score of the newest second."""
    s = setup.direction
    z_spot, z_perp, z_price = (s * z for z in z_over(history, params.bias_w))
    window = history.seconds
    less = fading(setup)
    decel_max, absorption_max, breakdown_max, bias_max = params.score_weights
    weight_speed, weight_less, weight_span = params.decel_split
    stopped = 0.0
    if setup.speed_max > 0.0:
        stopped = ramp(1.0 - abs(setup.speed) / setup.speed_max, 0.4, 0.9)
    context = NEUTRAL_CONTEXT
    if history.context_sign:
        context = 1.0 if history.context_sign == s else 0.0
    return Score(
        decel_max
        * (
            weight_speed * stopped
            + weight_less * less
            + weight_span * _compression(setup, history, params)
        ),
        absorption_max * setup.absorption,
        breakdown_max * ((0.3 if setup.tests == 1 else 0.6) + 0.4 * less) if setup.tests else 0.0,
        bias_max
        * (
            0.35 * ramp(z_spot, 0.0, 1.5)
            + 0.15 * ramp(z_perp, 0.0, 1.5)
            + 0.25 * ramp(z_price, 0.0, 1.5)
            + 0.25 * context
        ),
        setup.oi[2],
        z_spot,
        z_perp,
        z_price,
        (s * window.x[window.last] - setup.extreme) / setup.r5,
    )


def fading(setup: Setup) -> float:
    """0 to 1: the last test met less adverse spot flow than the reset itself."""
    if setup.tests == 0 or setup.adverse_max == 0.0:
        return 0.0
    return ramp(1.0 - setup.last_test_flow / setup.adverse_max, 0.2, 0.6)


def _compression(setup: Setup, history: History, params: Params) -> float:
    if setup.reset_type == "B":
        z_price = z_over(history, params.expl_w)[2]
        return ramp(setup.direction * z_price, 2.0, 4.0)
    if setup.span_max == 0.0:
        return 0.0
    return ramp(1.0 - setup.span / setup.span_max, 0.2, 0.7)


def chase_limit(setup: Setup, params: Params) -> float:
    """Largest distance from the extreme at which to enter, in R5."""
    return params.chase_b if setup.reset_type == "B" else params.chase_max


def triggers(score: Score, setup: Setup, params: Params) -> bool:
    """All entry conditions of one second."""
    return (
        score.total >= params.min_score
        and score.z_spot >= params.trig_z
        and score.z_price > 0.0
        and params.lift_min <= score.lift <= chase_limit(setup, params)
        and setup.r5 >= params.cost_mult * params.round_trip_cost
        and not (params.oi_required and setup.oi[0] not in ("STRONG", "WEAK"))
    )
