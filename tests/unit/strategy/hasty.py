"""Parameters under which a squeeze takes minutes, so that a short market sees every state."""

from __future__ import annotations

import dataclasses

from services.strategy.params import Params

BRISK = Params(
    warm_min=40,
    scale_lag_min=2,
    neff_min=1,
    gap_neff=1,
    div_windows=(5, 1),
    div_leg_z=0.3,
    div_confirm_s=4,
    rearm_gap=0.2,
    rearm_s=150,
    cooldown_s=130,
)
"""A short past is enough, and one divergence may follow close upon another."""

HASTY = dataclasses.replace(
    BRISK,
    div_gap_z=1.0,
    comp_freeze_s=400,
    reset_min_s=20,
    reset_confirm_s=3,
    min_score=0.5,
    trig_z=0.1,
    bias_w=60,
    ready_confirm_s=2,
    div_timeout_s=300,
    reset_timeout_s=200,
    max_hold_s=90,
)
"""No state lasts long."""
