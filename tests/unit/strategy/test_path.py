"""Divergences looked for in many seconds at once, against each second alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from services.strategy.engine import SymbolEngine
from services.strategy.types import Event, Minute
from tests.unit.strategy.skipping import HASTY, SECONDS, come_and_gone, compare, minutes, seconds


@pytest.mark.parametrize("windows", [(30, 15), (30,)])
def test_a_window_without_a_scale_is_left_out_of_what_is_skipped(windows: tuple[int, ...]) -> None:
    """Spot comes back every other minute, so that nothing is left of it over half an hour."""
    params = dataclasses.replace(HASTY, scale_floor=0.0, div_windows=windows, rearm_s=3600)
    block = seconds(0, perp_drift=6.0 * np.sin(np.arange(SECONDS) / 150.0))
    there = np.where(np.arange(SECONDS) // 60 % 2, -10.0, 10.0)
    block = dataclasses.replace(block, spot_delta=there)

    def lead() -> list[Minute]:
        return [m._replace(spot_delta=-600.0 if i % 2 else 600.0) for i, m in enumerate(minutes(1))]

    def hold(engine: SymbolEngine) -> list[Event]:
        scales = engine.view()["scales"]
        assert scales["30"]["spot"] == 0.0 < scales["15"]["spot"]
        return come_and_gone(engine)

    _, skipped = compare(block, params, [3840], hold, held_after_s=1900, lead=lead)
    assert skipped["WATCHING"] > 600
