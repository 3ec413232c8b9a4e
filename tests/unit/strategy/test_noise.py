"""What is decided on markets in which there is nothing to be found, and that they are such."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.run import run
from services.strategy.types import Entry
from tests.unit.strategy.noise import calm, decide, wild
from tests.unit.strategy.scenarios import Floats, Market

RUNS, DAYS = 8, 3


@cache
def wild_days() -> Market:
    return wild(DAYS, 1)


def kurtosis(values: Floats) -> float:
    """3 for a normal distribution."""
    centred = values - values.mean()
    return float(np.mean(centred**4) / np.mean(centred**2) ** 2)


def alike(one: Floats, other: Floats) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def lagged(values: Floats, lag: int) -> float:
    """Autocorrelation."""
    return alike(values[:-lag], values[lag:])


def by(values: Floats, seconds: int) -> Floats:
    """Sums over as many seconds."""
    found: Floats = values[: len(values) // seconds * seconds].reshape(-1, seconds).sum(axis=1)
    return found


def returns(market: Market) -> Floats:
    return np.asarray(market.x - market.open)


def test_flow_and_returns_of_the_wild_market_have_heavy_tails() -> None:
    market = wild_days()
    for values in (market.spot_delta, market.perp_delta, returns(market)):
        assert kurtosis(values) > 20.0
        assert kurtosis(by(values, 60)) > 4.0


def test_flow_of_the_wild_market_remembers_for_long_but_returns_do_not() -> None:
    market = wild_days()
    for delta, volume in (
        (market.spot_delta, market.spot_volume),
        (market.perp_delta, market.perp_volume),
    ):
        found = [lagged(delta / volume, lag) for lag in (1, 10, 100, 1000)]
        assert found == sorted(found, reverse=True)
        assert found[-1] > 0.02  # an exponential that begins like this is gone after a minute
        # 0.3 is the order of integration: lag^(2 * 0.3 - 1)
        slope = np.polyfit(np.log([1, 10, 100, 1000]), np.log(found), 1)[0]
        assert slope == pytest.approx(-0.4, abs=0.07)
    for lag in (1, 10, 100, 1000):
        assert abs(lagged(returns(market), lag)) < 0.015


def test_volume_of_the_wild_market_is_random_and_comes_in_spells() -> None:
    market = wild_days()
    for delta, volume in (
        (market.spot_delta, market.spot_volume),
        (market.perp_delta, market.perp_volume),
    ):
        assert (np.abs(delta) <= volume).all()
        assert volume.std() > volume.mean()
        assert lagged(volume, 60) > 0.05


@pytest.mark.parametrize("seconds", [1, 60])
def test_legs_of_the_wild_market_correlate_by_045(seconds: int) -> None:
    market = wild_days()
    found = alike(by(market.spot_delta, seconds), by(market.perp_delta, seconds))
    assert found == pytest.approx(0.45, abs=0.07)


@pytest.mark.parametrize("seconds", [1, 60, 300])
def test_flow_of_the_wild_market_moves_price(seconds: int) -> None:
    market = wild_days()
    flow = by(market.spot_delta + market.perp_delta, seconds)
    assert alike(flow, by(returns(market), seconds)) > 0.25


def test_the_calm_market_has_none_of_this() -> None:
    market = calm(DAYS, 1)
    values = (market.spot_delta, market.perp_delta, returns(market))
    for i, one in enumerate(values):
        assert kurtosis(one) == pytest.approx(3.0, abs=0.1)
        assert abs(lagged(one, 1)) < 0.01
        assert abs(alike(one, values[i - 1])) < 0.01


def test_deciding_in_bulk_gives_the_same() -> None:
    market = wild(1, 16)
    bulk = list(decide(SymbolEngine("BTC"), market))
    assert len(bulk) > 10
    assert bulk == list(run(SymbolEngine("BTC"), market.seconds()))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("noise", [calm, wild])
def test_noise_rarely_signals(
    noise: Callable[[int, int], Market], record_property: Callable[[str, object], None]
) -> None:
    """At most 2 signals per symbol and day over 20 symbol-days and more."""
    days = DAYS - Params().warm_min / 1440
    rates = [
        sum(isinstance(e, Entry) for e in decide(SymbolEngine("BTC"), noise(DAYS, seed))) / days
        for seed in range(1, RUNS + 1)
    ]
    assert RUNS * days >= 20
    rate, error = float(np.mean(rates)), float(np.std(rates, ddof=1)) / RUNS**0.5
    record_property("signals_per_symbol_day", f"{rate:.2f} +- {error:.2f}")
    print(f"{noise.__name__}: {rate:.2f} +- {error:.2f} signals per symbol and day")
    assert 0.0 < rate <= 2.0, f"{rate:.2f} +- {error:.2f}"
    assert error < 0.5
