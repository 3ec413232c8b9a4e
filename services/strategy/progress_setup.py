"""What a running set-up still lacks: its reset, its score and trigger, its fill."""

from __future__ import annotations

from services.strategy.condition import (
    GUARD,
    LEAST,
    MOST,
    POINTS,
    Condition,
    clock,
    flag,
    held,
    least,
    most,
    passed,
)
from services.strategy.history import History
from services.strategy.machine import RESET_SETTLE_S, RESET_WINDOW_S, Machine
from services.strategy.params import Params
from services.strategy.reset import EXPLOSION_FROM_S, STAGNATION_S, Setup, z_over
from services.strategy.score import Score, chase_limit

EXHAUSTION = "A"
BURST = "B"
CONFIRMING = ("STRONG", "WEAK")


def _setup(machine: Machine) -> Setup:
    assert machine.setup is not None
    return machine.setup


def unopposed(history: History, side: str) -> str:
    """That the hours before should not speak against the trade."""
    environment, k = history.environment.value, history.k
    return f"context {environment} ({k:+.2f}) must not oppose a {side}"


def _ratio(value: float, scale: float) -> float | None:
    return value / scale if scale > 0.0 else None


# DIVERGENCE


def divergence(history: History, machine: Machine, params: Params) -> list[Condition]:
    """The reset in its two ways, and what would end the set-up before it."""
    setup, t = _setup(machine), history.t or 0
    usable = history.seconds.whole(RESET_WINDOW_S, params.hole_max)
    found = _exhaustion(setup, history, params, usable=usable)
    found += _burst(setup, history, params, usable=usable)
    if not usable:
        found.append(flag("window", "too many seconds of the last 5 min are missing", False))
    age_s = t - setup.detected_t
    found += _guards(setup, history, machine, params)
    found.append(
        most(
            "ran",
            "price moved without it",
            _moved(setup, history),
            params.div_run_z,
            kind=GUARD,
        )
    )
    found.append(_deadline("div_timeout", age_s, params.div_timeout_s))
    return found


def _exhaustion(setup: Setup, history: History, params: Params, *, usable: bool) -> list[Condition]:
    p, window, way = params, history.seconds, EXHAUSTION
    drift = None
    if usable:
        drift = abs(window.x[window.last] - window.x[window.last - STAGNATION_S])
    speed = _ratio(setup.speed, setup.speed_max)
    slowed = speed is not None and setup.speed <= p.exh_frac * setup.speed_max
    drifts = None if drift is None else _ratio(drift, setup.f_x5)
    stands = drift is not None and drift <= p.stag_z * setup.f_x5
    narrow = setup.span <= p.stag_rng * setup.r5
    span = setup.span / setup.r5
    return [
        passed("age", "since the gap's peak", _age(setup, history), p.reset_min_s, way=way),
        least("closed", "share of the gap closed", setup.closed, p.conv_a, "share", way=way),
        most(
            "slowed", "closing speed, of its fastest", speed, p.exh_frac, "share",
            met=slowed, way=way,
        ),
        most("drift", "price moved in 5 min", drifts, p.stag_z, met=stands, way=way),
        most("span", "price range of 5 min", span, p.stag_rng, "ranges", met=narrow, way=way),
        held("held", setup.stagnant_s, p.reset_confirm_s, way=way),
    ]  # fmt: skip


def _burst(setup: Setup, history: History, params: Params, *, usable: bool) -> list[Condition]:
    p, s, way = params, setup.direction, BURST
    spot = perp = price = None
    if usable:
        spot, perp, price = (s * z for z in z_over(history, p.expl_w))
    minutes = p.expl_w // 60
    side = "up" if s > 0 else "down"
    return [
        passed("age", "since the gap's peak", _age(setup, history), EXPLOSION_FROM_S, way=way),
        least("closed", "share of the gap closed", setup.closed, p.conv_b, "share", way=way),
        least("price", f"price {side}, {minutes} min", price, p.expl_z, way=way),
        least("spot", f"spot CVD {side}, {minutes} min", spot, p.expl_flow_z, way=way),
        least("perp", f"perp CVD {side}, {minutes} min", perp, 0.0, way=way),
    ]


def _age(setup: Setup, history: History) -> int:
    return (history.t or 0) - setup.peak_t


def _moved(setup: Setup, history: History) -> float:
    window = history.seconds
    return setup.direction * (window.x[window.last] - setup.x) / setup.f_x30


def _guards(setup: Setup, history: History, machine: Machine, params: Params) -> list[Condition]:
    """What a set-up lives on, in DIVERGENCE and RESET."""
    p, side = params, "long" if setup.direction > 0 else "short"
    against = -_moved(setup, history)
    found = [
        flag(
            "context",
            unopposed(history, side),
            history.context_sign != -setup.direction,
            kind=GUARD,
        ),
        most("unwound", "share of the gap closed", setup.closed, p.conv_max, "share", kind=GUARD),
        most("broke", "price against it", against, p.div_break_z, kind=GUARD),
    ]
    if machine.degraded:
        text = f"data missing for {setup.gap_s} s, less than {p.gap_abort_s} s allowed"
        alive = setup.gap_s < p.gap_abort_s
        found.append(
            Condition("data_gap", text, alive, setup.gap_s, p.gap_abort_s, MOST, "s", GUARD)
        )
    return found


def _deadline(code: str, age_s: int, most_s: int) -> Condition:
    text = f"given up after {most_s} s, {age_s} s so far"
    return Condition(code, text, age_s <= most_s, age_s, most_s, MOST, "s", GUARD)


# RESET


def reset(history: History, machine: Machine, params: Params) -> list[Condition]:
    """The entry trigger, the five parts of the score, and what would end the set-up before it."""
    setup, score, t = _setup(machine), machine.score, history.t or 0
    found = _trigger(setup, score, history, params)
    if score is not None:
        found += _points(setup, score, params)
    found += _guards(setup, history, machine, params)
    if setup.reset_type == EXHAUSTION:
        higher = setup.peak_t == t and t - setup.reset_t > RESET_SETTLE_S
        text = f"gap {setup.gap:.2f} z, back to DIVERGENCE above its peak of {setup.peak:.2f}"
        found.append(
            Condition("new_peak", text, not higher, setup.gap, setup.peak, MOST, "z", GUARD)
        )
    found.append(_deadline("reset_timeout", t - setup.reset_t, params.reset_timeout_s))
    return found


def _trigger(
    setup: Setup, score: Score | None, history: History, params: Params
) -> list[Condition]:
    p, t = params, history.t or 0
    side = "up" if setup.direction > 0 else "down"
    minutes = p.bias_w // 60
    total = spot = price = lift = None
    if score is not None:
        total, spot, price, lift = score.total, score.z_spot, score.z_price, score.lift
    turned = price is not None and price > 0.0
    found = [
        least("score", "score", total, p.min_score, "points"),
        least("spot", f"spot CVD {side}, {minutes} min", spot, p.trig_z),
        least("price", f"price {side}, {minutes} min", price, 0.0, met=turned),
        least("lift", "price off the reset's extreme", lift, p.lift_min, "ranges"),
        most("chase", "price off the reset's extreme", lift, chase_limit(setup, p), "ranges"),
    ]
    if p.cost_mult > 0.0:
        need = p.cost_mult * p.round_trip_cost
        text = f"5-minute range {setup.r5:.4%} of {need:.4%} of price, for its costs"
        found.append(Condition("cost", text, setup.r5 >= need, setup.r5, need, LEAST, "log"))
    if p.oi_required:
        text = f"open interest confirms: {setup.oi[0].lower()}"
        found.append(flag("open_interest", text, setup.oi[0] in CONFIRMING))
    if not history.seconds.whole(p.bias_w, p.hole_max):
        text = f"too many seconds of the last {minutes} min are missing"
        found.append(flag("window", text, False))
    found.append(held("held", setup.triggered_s, p.ready_confirm_s))
    if t < setup.next_attempt_t:
        text = f"the last signal was refused, next attempt {clock(setup.next_attempt_t)}"
        have = t + p.reject_backoff_s - setup.next_attempt_t
        found.append(Condition("attempt", text, False, have, p.reject_backoff_s, LEAST, "s"))
    return found


def _points(setup: Setup, score: Score, params: Params) -> list[Condition]:
    """The five parts against their most; what is said of them are the figures they rest on."""
    speed = _ratio(abs(setup.speed), setup.speed_max)
    closing = "not known" if speed is None else f"{speed:.0%} of its fastest"
    tests = f"{setup.tests} {'test' if setup.tests == 1 else 'tests'} of the extreme"
    z = f"spot {score.z_spot:+.2f}, perp {score.z_perp:+.2f}, price {score.z_price:+.2f} z"
    oi = setup.oi[0].lower()
    if setup.oi[1] is not None:
        oi += f", {setup.oi[1]:+.2f} z"
    return [
        _part(name, score, maximum, text)
        for (name, maximum), text in zip(
            parts_max(params).items(),
            (
                f"CVD reset slows down: closing speed {closing}",
                f"absorption candle: quality {setup.absorption:.0%}",
                f"failed breakdown: {tests}",
                f"direction: {z}",
                f"open interest: {oi}",
            ),
            strict=True,
        )
    ]


def parts_max(params: Params) -> dict[str, float]:
    """The most points of each part of the score, keyed as in `Score.breakdown`."""
    most_of = (*params.score_weights, params.oi_points[0])
    return dict(zip(PARTS, most_of, strict=True))


def _part(name: str, score: Score, maximum: float, text: str) -> Condition:
    have = score[PARTS.index(name)]
    said = f"{text}, {have:.2f} of {maximum:.2f} points"
    return Condition(name, said, have >= maximum, have, maximum, LEAST, "points", POINTS)


PARTS = (
    "cvd_reset_deceleration",
    "absorption_candle",
    "failed_breakdown",
    "directional_bias",
    "oi_confirmation",
)


# ENTRY_READY


def entry(history: History, machine: Machine, params: Params) -> list[Condition]:
    """The fill that is awaited, and what would withdraw the signal before it."""
    setup, signal, t = _setup(machine), machine.signal, history.t or 0
    assert signal is not None
    p, window, score, s = params, history.seconds, machine.score, setup.direction
    side = "long" if s > 0 else "short"
    signed_x = s * window.x[window.last]
    lift = (signed_x - signal.extreme) / signal.r5
    wait_s = signal.valid_until - signal.t
    waited = f"signal expires {clock(signal.valid_until)}, {t - signal.t} of {wait_s} s"
    total, spot = (None, None) if score is None else (score.total, score.z_spot)
    unheld, off = signed_x > signal.extreme, "price off the reset's extreme"
    return [
        flag("fill", f"the fill of the {side} signal", machine.position is not None),
        Condition(
            "expired", waited, t < signal.valid_until, t - signal.t, wait_s, MOST, "s", GUARD
        ),
        flag(
            "context",
            unopposed(history, side),
            history.context_sign != -s,
            kind=GUARD,
        ),
        least("extreme", off, lift, 0.0, "ranges", met=unheld, kind=GUARD),
        most("chase", off, lift, chase_limit(setup, p), "ranges", kind=GUARD),
        least("flow", f"spot CVD for it, {p.bias_w // 60} min", spot, 0.0, kind=GUARD),
        least("score", "score", total, p.min_score - p.ready_hyst, "points", kind=GUARD),
    ]  # fmt: skip
