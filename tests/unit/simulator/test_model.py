from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from services.simulator.model import BASES, HISTORY_S, Flow, Model, Path


def equal(a: Flow, b: Flow) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Flow))


def test_the_path_is_the_same_in_whatever_portions_it_is_computed() -> None:
    once = Path(1, BASES[0]).seconds(-9000, 9000)
    late = Path(1, BASES[0])
    late.seconds(8000, 8001)
    late.seconds(-HISTORY_S, -HISTORY_S + 10)
    assert equal(late.seconds(3598, 3605), once.cut(3598, 3605))
    assert equal(late.seconds(-9000, 9000), once)


def test_the_price_has_no_jump_where_live_trading_begins() -> None:
    flow = Path(1, BASES[0]).seconds(-60, 60)
    assert np.array_equal(flow.open[1:], flow.close[:-1])


def test_legs_pull_apart_before_the_first_squeeze_while_the_price_stays() -> None:
    path = Path(1, BASES[0])
    build_up = path.script.at(-1000)
    assert build_up.step.name == "build_up"
    flow = path.seconds(build_up.start, build_up.end)
    quiet = path.seconds(-90_000, -90_000 + len(flow.second))
    assert flow.spot_delta.sum() > 5 * abs(quiet.spot_delta.sum())
    assert flow.perp_delta.sum() < 0
    assert abs(flow.close[-1] - flow.open[0]) < 20e-4


def test_a_short_squeeze_is_the_mirror_of_a_long_one() -> None:
    path = Path(1, BASES[1])
    build_up = path.script.at(-600)
    assert (build_up.step.name, build_up.direction) == ("build_up", -1)
    flow = path.seconds(build_up.start, build_up.end)
    assert flow.spot_delta.sum() < 0 < flow.perp_delta.sum()


def test_deltas_never_exceed_volumes_and_prices_stay_within_their_range() -> None:
    flow = Path(2, BASES[1]).seconds(-20_000, 20_000)
    assert (np.abs(flow.spot_delta) < flow.spot_volume).all()
    assert (np.abs(flow.perp_delta) < flow.perp_volume).all()
    assert (flow.low <= np.minimum(flow.open, flow.close)).all()
    assert (flow.high >= np.maximum(flow.open, flow.close)).all()


def test_open_interest_grows_while_a_squeeze_builds_up() -> None:
    model = Model(1)
    build_up = model.paths["BTC"].script.at(-1000)
    before, after = (model.open_interest("BTC", s) for s in (build_up.start, build_up.end - 1))
    assert after / before == pytest.approx(1.012, abs=0.004)


def test_nothing_exists_before_the_history() -> None:
    with pytest.raises(ValueError, match="no path"):
        Path(1, BASES[0]).seconds(-HISTORY_S - 1, 0)
