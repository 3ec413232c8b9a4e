import pytest

from aggr_server.wire import Bar
from services.market.reference import Reference

VOLUMES = {"REF": 10.0, "BIG": 9.0, "SMALL": 1.0}


def bar(name: str, t: int, price: float) -> Bar:
    return Bar(t, name, price, price, price, price, 1.0, 1.0, 1, 1, 0.0, 0.0)


def prices(t: int, **markets: float) -> dict[str, Bar]:
    return {name: bar(name, t, price) for name, price in markets.items()}


def switched() -> Reference:
    reference = Reference("REF")
    for t in range(10):
        reference.step(t, prices(t, REF=100.0, BIG=102.0, SMALL=99.0), VOLUMES)
    for t in range(10, 40):
        reference.step(t, prices(t, BIG=102.0, SMALL=99.0), VOLUMES)
    return reference


def test_the_largest_other_perpetual_replaces_a_stale_one_without_a_jump() -> None:
    reference = switched()
    assert reference.market == "BIG"
    candle = reference.step(40, prices(40, BIG=103.02), VOLUMES)
    assert candle is not None
    assert candle.close == pytest.approx(101.0)


def test_what_happened_while_the_market_was_silent_is_not_lost() -> None:
    """A fall of 2 % in those 30 s is in the series, the difference between the markets is not."""
    reference = Reference("REF")
    for t in range(10):
        reference.step(t, prices(t, REF=100.0, BIG=110.0), VOLUMES)
    for t in range(10, 40):
        candle = reference.step(t, prices(t, BIG=110.0 * 0.98), VOLUMES)
    assert reference.market == "BIG"
    assert candle is not None
    assert candle.close == pytest.approx(98.0)
    for t in range(40, 102):
        candle = reference.step(t, prices(t, REF=98.5, BIG=110.0 * 0.98), VOLUMES)
    assert reference.market == "REF"
    assert candle is not None
    assert candle.close == pytest.approx(98.0)
    assert reference.execution_price(98.0) == pytest.approx(98.5)


def test_a_small_market_that_happens_to_trade_is_not_taken_for_the_largest() -> None:
    reference = Reference("REF")
    for t in range(10):
        reference.step(t, prices(t, REF=100.0, BIG=100.0, SMALL=100.0), VOLUMES)
    for t in range(10, 39):
        reference.step(t, prices(t, BIG=100.0), VOLUMES)
    reference.step(39, prices(39, SMALL=100.0), VOLUMES)
    assert reference.market == "REF"
    reference.step(40, prices(40, BIG=100.0), VOLUMES)
    assert reference.market == "BIG"


def test_the_preferred_market_in_want_of_another_has_its_own_prices() -> None:
    reference = switched()
    for t in range(40, 75):
        reference.step(t, prices(t, REF=105.0) if t % 20 == 0 else {}, VOLUMES)
    candle = reference.step(75, prices(75, REF=105.0), VOLUMES)
    assert reference.market == "REF"
    assert candle is not None
    assert reference.execution_price(candle.close) == pytest.approx(105.0)


def test_the_last_close_stands_until_thirty_seconds_have_passed() -> None:
    reference = Reference("REF")
    reference.step(0, prices(0, REF=100.0), VOLUMES)
    for t in range(1, 30):
        candle = reference.step(t, prices(t, BIG=102.0), VOLUMES)
        assert candle == (100.0,) * 4
        assert reference.market == "REF"
        assert reference.age(t) == t
    reference.step(30, prices(30, BIG=102.0), VOLUMES)
    assert reference.market == "BIG"


def test_the_preferred_market_returns_after_a_steady_minute_spliced() -> None:
    reference = switched()
    for t in range(40, 100):
        reference.step(t, prices(t, REF=105.0, BIG=102.0), VOLUMES)
        assert reference.market == "BIG"
    candle = reference.step(100, prices(100, REF=105.0, BIG=102.0), VOLUMES)
    assert reference.market == "REF"
    assert candle is not None
    assert candle.close == pytest.approx(100.0)
    assert reference.execution_price(candle.close) == pytest.approx(105.0)
    assert reference.spliced_price(105.0) == pytest.approx(candle.close)


def test_nothing_without_a_first_price() -> None:
    assert Reference("REF").step(0, {}, VOLUMES) is None


def test_a_seeded_price_stands_before_the_first_trade() -> None:
    reference = Reference("REF")
    reference.seed(99.0)
    assert reference.step(0, {}, VOLUMES) == (99.0,) * 4
