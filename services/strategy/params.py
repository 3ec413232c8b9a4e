"""Every tunable number of the method. Times in seconds or minutes, thresholds without unit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of the strategy core; none is an amount of money or of volume.

    `_s`: seconds, `_min`: minutes, `_z`: robust standard deviations, `_r5` and the distances of the
    price patterns: multiples of the median five-minute range.
    """

    # Memory and warm-up
    lookback_s: int = 14_400
    hist_min: int = 1_440
    warm_min: int = 270
    hole_max: float = 0.10
    comp_freeze_s: int = 1_800
    ref_stale_s: int = 30
    pattern_s: int = 300

    # Scales
    scale_windows: tuple[int, ...] = (1, 5, 15, 30, 60, 240)
    scale_lag_min: int = 30
    neff_min: int = 6
    gap_neff: int = 12
    scale_floor: float = 0.7
    fast_min: int = 120
    act_lo: float = 0.7
    act_hi: float = 3.0
    gap_lo: float = 0.5
    gap_hi: float = 2.0
    range_candles: int = 288

    # Context
    ctx_windows: tuple[int, ...] = (30, 60, 240)
    ctx_weights: tuple[float, ...] = (0.3, 0.3, 0.4)
    ctx_z: float = 2.0
    ctx_on: float = 0.50
    ctx_off: float = 0.30
    ctx_price_z: float = 2.0

    # Divergence
    div_windows: tuple[int, ...] = (30, 15)
    div_leg_z: float = 1.0
    div_gap_z: float = 3.0
    div_adv_z: float = 1.0
    div_fav_z: float = 2.0
    div_parts: int = 2
    div_confirm_s: int = 60
    rearm_gap: float = 1.0
    rearm_s: int = 1_800

    # Open interest
    oi_strong: float = 2.0
    oi_weak: float = 1.0
    oi_contra: float = -1.0
    oi_points: tuple[float, float, float] = (2.0, 0.5, -1.0)
    oi_required: bool = False
    oi_history_min: int = 240

    # Reset
    reset_min_s: int = 120
    reset_confirm_s: int = 15
    conv_a: float = 0.25
    conv_b: float = 0.10
    conv_max: float = 1.25
    v_w: int = 120
    exh_frac: float = 0.35
    stag_z: float = 1.0
    stag_rng: float = 1.25
    expl_w: int = 180
    expl_z: float = 2.5
    expl_flow_z: float = 1.0

    # Score and trigger
    score_weights: tuple[float, float, float, float] = (3.5, 2.5, 2.0, 2.0)
    decel_split: tuple[float, float, float] = (0.40, 0.35, 0.25)
    test_tol: float = 0.15
    test_close: float = 0.4
    bounce: float = 0.5
    min_score: float = 4.0
    bias_w: int = 180
    trig_z: float = 0.5
    lift_min: float = 0.25
    chase_max: float = 3.0
    chase_b: float = 6.0
    ready_confirm_s: int = 5
    cost_mult: float = 0.0
    round_trip_cost: float = 0.0012

    # Exits
    rb_buf: float = 0.25
    rb_confirm_s: int = 10
    exit_flow_z: float = 1.5
    exit_perp_z: float = 0.5
    giveback: float = 0.5
    giveback_min_z: float = 1.5
    giveback_perp_z: float = 1.0
    exit_confirm_s: int = 30
    ltf_confirm_s: int = 300
    cti_z: float = 1.5
    cti_fast_z: float = 0.5
    max_hold_s: int = 0
    cat_enabled: bool = True
    cat_mult: float = 6.0
    cat_lo: float = 0.015
    cat_hi: float = 0.08
    cat_liq: float = 0.5

    # State machine
    div_timeout_s: int = 7_200
    reset_timeout_s: int = 1_800
    div_break_z: float = 3.0
    div_run_z: float = 4.0
    entry_window_s: int = 60
    reject_backoff_s: int = 30
    max_signals_per_setup: int = 2
    ready_hyst: float = 0.5
    gap_abort_s: int = 120
    gap_exit_s: int = 600
    gap_exit_enabled: bool = True
    cooldown_s: int = 900

    # Sizing and limits
    max_leverage: int = 5
    max_dev_r5: float = 3.0
    max_open_positions: int = 3
    max_daily_loss: float = 0.06
