"""The record of a decision."""

from __future__ import annotations

import json

import numpy as np

from services.strategy.engine import SymbolEngine
from services.strategy.types import Minute, Second
from tests.unit.strategy.hasty import HASTY

T = 1_200_000
LEAD_MIN = 60
LOADED_S = 60 * max(HASTY.div_windows) + 1


def test_a_value_beyond_what_a_number_can_hold_is_not_defined_in_it() -> None:
    random = np.random.default_rng(1)
    prices = 100.0 * np.exp(random.normal(0.0, 4e-4, LEAD_MIN))
    flows = random.normal(0.0, 1.0, (LEAD_MIN, 2)).tolist()
    minutes = [
        Minute(T + 60 * i, 1e-300 * spot, perp, 1.0, 1.0, x, 1.001 * x, 0.999 * x, x)
        for i, (x, (spot, perp)) in enumerate(zip(prices.tolist(), flows, strict=True))
    ]
    engine = SymbolEngine("BTC", HASTY)
    engine.preload_minutes(minutes)
    start, price = T + 60 * LEAD_MIN, float(prices[-1])
    quiet = Second(start, 0.0, 0.0, 0.0, 0.0, price, price, price, price)
    seconds = [quiet._replace(t=start + i) for i in range(LOADED_S)]
    seconds[-1] = seconds[-1]._replace(spot_delta=1e10, spot_volume=1e10)
    engine.preload_seconds(seconds)
    view = engine.view()
    found = view["divergence"]["windows"]["5"]
    assert (found["z_spot"], found["gap"]) == (None, None)
    assert found["z_price"] is not None
    assert view["c_spot"] == 1e10
    json.dumps(view, allow_nan=False)
