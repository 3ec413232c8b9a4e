"""Faults in context and divergence. The ids are those of the list of known faults."""

from __future__ import annotations

from itertools import pairwise

import pytest

from services.strategy.context import SIGN, next_environment, strength
from services.strategy.divergence import Detector, measure, opposed
from services.strategy.engine import SymbolEngine
from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.run import run
from services.strategy.types import Environment, State, Transition
from tests.unit.strategy.conftest import market_of
from tests.unit.strategy.scenarios import LEAD_S, MIDNIGHT
from tests.unit.strategy.test_divergence import history_of

PARAMS = Params()
LONG, SHORT, NEUTRAL = (
    Environment.LONG_SQUEEZE,
    Environment.SHORT_SQUEEZE,
    Environment.NEUTRAL,
)


def history_with(origin: float = 0.0, unit: float = 1.0) -> History:
    """Five hours of S1, in another unit of volume and from another origin."""
    history = History(PARAMS, origin, -origin)
    for second in market_of("S1").scaled(unit, unit).seconds(0, 18_000):
        history.add(second)
    return history


def detected(unit: float = 1.0) -> list[tuple[int, int]]:
    seconds = market_of("S1").scaled(unit, unit).seconds(0, LEAD_S + 1300)
    events = run(SymbolEngine("BTC"), seconds)
    return [
        (e.t - MIDNIGHT - LEAD_S, e.direction)
        for e in events
        if isinstance(e, Transition) and e.state is State.DIVERGENCE
    ]


def test_D11_shorts_are_trapped_where_spot_buys_and_longs_are_wanted() -> None:
    k = strength({30: 3.0, 60: 3.0, 240: 3.0}, PARAMS)
    assert next_environment(NEUTRAL, k, 0.0, PARAMS) is SHORT
    assert (SIGN[SHORT], SIGN[LONG]) == (1, -1)


def test_D12_the_trend_does_not_depend_on_the_origin() -> None:
    plain = history_with()
    for origin in (1e7, -1e7):
        other = history_with(origin)
        assert other.k == pytest.approx(plain.k, abs=1e-9)
        assert other.context_gaps == pytest.approx(plain.context_gaps, abs=1e-9)


def test_D13_a_falling_price_is_falling() -> None:
    history = history_of(lambda _: 0.0, lambda _: 0.0, move=-0.1)
    assert measure(history, 1, 30, PARAMS).z_price < -5.0
    assert next_environment(NEUTRAL, -0.6, -4.0, PARAMS) is LONG


def test_D14_all_three_windows_count() -> None:
    for w in PARAMS.ctx_windows:
        gaps = {v: 2.0 if v == w else 0.0 for v in PARAMS.ctx_windows}
        assert strength(gaps, PARAMS) == pytest.approx(0.4 if w == 240 else 0.3)


def test_D15_D16_no_amount_of_money_decides() -> None:
    assert history_with(unit=1e-3).k == pytest.approx(history_with().k, abs=1e-9)
    assert detected(unit=1e-3) == detected() == [(1180, 1)]


def test_D17_no_long_while_the_price_falls() -> None:
    falling = history_of(lambda _: 0.2, lambda _: -0.2, move=-0.1)
    assert opposed(falling, 30, 1.0) == 1
    assert not measure(falling, 1, 30, PARAMS).stable
    slipping = history_of(lambda _: 0.2, lambda _: -0.2, move=0.005)
    assert measure(slipping, 1, 30, PARAMS).holds


def test_D18_without_a_setup_there_is_no_direction() -> None:
    """Spot sold, perps bought, price rising: no short, and no long either."""
    history = history_of(lambda _: -0.2, lambda _: 0.2, move=0.05)
    assert opposed(history, 30, 1.0) == -1
    assert not measure(history, -1, 30, PARAMS).holds
    assert not measure(history, 1, 30, PARAMS).holds
    together = history_of(lambda _: 0.3, lambda _: 0.2)
    assert opposed(together, 30, 1.0) == 0


def test_D19_the_gap_is_spot_minus_perp() -> None:
    found = measure(history_of(lambda _: 0.2, lambda _: -0.2), 1, 30, PARAMS)
    assert found.gap == pytest.approx(found.z_spot - found.z_perp)
    assert found.gap > 0.0


def test_D20_a_level_that_was_reached_long_ago_is_not_significant() -> None:
    history = history_of(
        lambda t: 1000.0 if t == 10 else 0.0, lambda t: -1000.0 if t == 10 else 0.0
    )
    c_spot, c_perp = history.seconds.latest
    assert c_spot - c_perp == 2000.0
    assert measure(history, 1, 30, PARAMS).gap == 0.0


@pytest.mark.parametrize(("scale", "stable"), [(0.01, True), (0.001, False)])
def test_D21_what_is_a_stable_price_depends_on_the_symbol(scale: float, *, stable: bool) -> None:
    history = history_of(lambda _: 0.2, lambda _: -0.2, move=-0.005)
    history.price.scale = dict.fromkeys(PARAMS.scale_windows, scale)
    assert measure(history, 1, 30, PARAMS).stable is stable


def test_D22_no_condition_can_stand_in_for_another() -> None:
    found = measure(history_of(lambda _: 0.5, lambda _: -0.5), 1, 30, PARAMS)
    assert found.holds
    for part in ("legs", "wide", "stable", "sustained"):
        assert not found._replace(**{part: False}).holds


def test_D23_a_moment_is_no_setup() -> None:
    history = history_of(lambda _: 0.2, lambda _: -0.2)
    detector = Detector(PARAMS)
    found = [detector.update(history, t) for t in range(60)]
    assert found[:59] == [{}] * 59
    assert found[59] == {1: 30}
    moves = [e for e in run(SymbolEngine("BTC"), market_of("S2").seconds(0, LEAD_S + 2800))
             if isinstance(e, Transition)]  # fmt: skip
    assert all(one.state == following.previous for one, following in pairwise(moves))
