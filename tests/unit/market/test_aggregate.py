import pytest

from aggr_server.wire import Bar, Kind, Market
from services.market.aggregate import Aggregator, preferred_market
from services.market.bars import Late
from services.strategy.types import Second

T = 1_200_000
NAMES = {"S1:btc": "spot", "S2:btc": "spot", "REF:btc": "perp", "P2:btc": "perp"}


def market(name: str, kind: Kind, quote: str = "USDT") -> Market:
    return Market(name, name.partition(":")[0], "BTC", quote, kind)


MARKETS = [
    market("S1:btc", "spot"),
    market("S2:btc", "spot"),
    market("REF:btc", "perp"),
    market("P2:btc", "perp"),
]


def bar(name: str, t: int, buy: float = 2.0, sell: float = 1.0, price: float = 100.0) -> Bar:
    return Bar(t, name, price, price, price, price, buy, sell, 1, 1, 0.0, 0.0)


def bars(t: int, *names: str, **more: float) -> dict[str, Bar]:
    return {name: bar(name, t, **more) for name in names or NAMES}


def run(a: Aggregator, first: int, stop: int, *names: str) -> Second:
    last = None
    for t in range(first, stop):
        last = a.second(t, bars(t, *names))
    assert last is not None
    return last


def test_classes_are_summed_apart() -> None:
    a = Aggregator(MARKETS, "REF")
    found = a.second(
        T,
        {
            "S1:btc": bar("S1:btc", T, 5.0, 1.0),
            "S2:btc": bar("S2:btc", T, 1.0, 2.0),
            "REF:btc": bar("REF:btc", T, 1.0, 7.0, 101.0),
        },
    )
    assert found is not None
    assert (found.spot_delta, found.spot_volume) == (3.0, 9.0)
    assert (found.perp_delta, found.perp_volume) == (-6.0, 8.0)
    assert found.close == 101.0


def test_one_market_split_in_two_gives_the_same_second() -> None:
    whole, split = Aggregator(MARKETS, "REF"), Aggregator(MARKETS, "REF")
    ref = bar("REF:btc", T)
    a = whole.second(T, {"REF:btc": ref, "S1:btc": bar("S1:btc", T, 4.0, 2.0)})
    b = split.second(
        T,
        {"REF:btc": ref, "S1:btc": bar("S1:btc", T, 1.5, 2.0), "S2:btc": bar("S2:btc", T, 2.5, 0)},
    )
    assert a == b


def test_a_row_without_trades_equals_a_missing_row() -> None:
    a, b = Aggregator(MARKETS, "REF"), Aggregator(MARKETS, "REF")
    run(a, T, T + 5)
    run(b, T, T + 5)
    empty = bar("REF:btc", T + 5, 0.0, 0.0, 0.0)
    assert a.second(T + 5, {"REF:btc": empty}) == b.second(T + 5, {})


def test_what_is_known_from_before_is_the_price_and_the_weight_of_the_markets() -> None:
    a = Aggregator(MARKETS, "REF")
    a.seed({"S1:btc": 3e6, "S2:btc": 1e6}, 99.0)
    found = a.second(T, {"S1:btc": bar("S1:btc", T), "S2:btc": bar("S2:btc", T)})
    assert found is not None
    assert (found.open, found.high, found.low, found.close) == (99.0,) * 4
    assert a.members.tracks["S1:btc"].share == pytest.approx(0.75, abs=1e-5)


def test_without_a_price_from_before_there_is_no_second_until_one_is_traded() -> None:
    a = Aggregator(MARKETS, "REF")
    a.seed({"S1:btc": 3e6}, None)
    assert a.second(T, bars(T, "S1:btc", "S2:btc")) is None
    assert a.second(T + 1, bars(T + 1)) is not None


def test_a_second_without_trades_carries_the_price() -> None:
    a = Aggregator(MARKETS, "REF")
    run(a, T, T + 3)
    found = a.second(T + 3, {})
    assert found is not None
    assert (found.open, found.high, found.low, found.close) == (100.0,) * 4
    assert (found.spot_delta, found.perp_volume) == (0.0, 0.0)


def test_late_volume_is_added_to_its_class() -> None:
    a = Aggregator(MARKETS, "REF")
    run(a, T, T + 3)
    late = {"S1:btc": Late(3.0, 1.0), "REF:btc": Late(1.0, 8.0), "P2:btc": Late(0.5, 0.0)}
    found = a.second(T + 3, {}, late)
    assert found is not None
    assert (found.spot_delta, found.spot_volume) == (2.0, 4.0)
    assert (found.perp_delta, found.perp_volume) == (-6.5, 9.5)


def test_late_volume_of_a_market_that_does_not_count_yet_does_not_count_either() -> None:
    a = Aggregator(MARKETS, "REF")
    run(a, T, T + 1200, "S1:btc", "REF:btc")
    joining = a.second(T + 1200, bars(T + 1200))
    assert joining is not None
    assert (joining.spot_delta, joining.perp_delta) == (1.0, 1.0)
    found = a.second(T + 1201, {}, {"S2:btc": Late(3.0, 1.0), "P2:btc": Late(3.0, 1.0)})
    assert found is not None
    assert (found.spot_delta, found.spot_volume) == (0.0, 0.0)
    assert (found.perp_delta, found.perp_volume) == (0.0, 0.0)


def test_bars_of_a_market_that_is_not_known_are_left_out() -> None:
    a = Aggregator(MARKETS[:3], "REF")
    found = a.second(T, bars(T))
    assert found is not None
    assert (found.spot_delta, found.perp_delta) == (2.0, 1.0)


def test_markets_learned_later_count_and_may_be_the_one_whose_prices_are_followed() -> None:
    a = Aggregator(MARKETS[:2], "REF")
    assert a.second(T, bars(T)) is None
    a.add_markets(MARKETS)
    # Two perpetuals of the exchange: the one followed already stays.
    a.add_markets([*MARKETS, market("REF:a", "perp")])
    found = a.second(T + 1, {"REF:btc": bar("REF:btc", T + 1, price=7.0)})
    assert found is not None
    assert (found.close, a.reference.preferred) == (7.0, "REF:btc")


def test_markets_learned_later_of_which_none_is_the_exchanges_leave_the_price_open() -> None:
    a = Aggregator(MARKETS[:2], "NONE")
    a.add_markets(MARKETS)
    assert a.reference.preferred is None


def test_a_market_that_joins_contributes_after_fifteen_minutes_and_adds_no_step() -> None:
    a = Aggregator(MARKETS, "REF")
    run(a, T, T + 1200, "S1:btc", "REF:btc")
    joined = T + 1200
    sums = [
        a.second(t, bars(t, "S1:btc", "S2:btc", "REF:btc")) for t in range(joined, joined + 961)
    ]
    deltas = [s.spot_delta for s in sums if s]
    assert deltas[0] == 1.0
    assert deltas[899] == 1.0
    assert deltas[-1] == 2.0
    assert set(deltas) == {1.0, 2.0}


def test_a_market_that_stalls_stops_contributing_and_goes_on_when_it_returns() -> None:
    a = Aggregator(MARKETS, "REF")
    run(a, T, T + 100)
    run(a, T + 100, T + 200, "S1:btc", "REF:btc", "P2:btc")
    assert run(a, T + 200, T + 201).spot_delta == 2.0


def test_coverage_falls_with_the_share_of_the_silent_and_degrades_after_ten_seconds() -> None:
    a = Aggregator(MARKETS, "REF")
    run(a, T, T + 600)
    found = run(a, T + 600, T + 635, "S1:btc", "REF:btc", "P2:btc")
    assert found.coverage == pytest.approx(0.5, abs=0.02)
    assert not found.degraded
    found = run(a, T + 635, T + 645, "S1:btc", "REF:btc", "P2:btc")
    assert found.degraded
    assert (a.coverage, a.degraded) == (found.coverage, True)
    assert run(a, T + 645, T + 700).degraded
    assert not run(a, T + 700, T + 710).degraded


def test_markets_known_to_be_missing_count_against_coverage_at_once() -> None:
    a = Aggregator(MARKETS, "REF")
    run(a, T, T + 600)
    found = a.second(T + 600, bars(T + 600, "S1:btc", "REF:btc"), silent={"S2:btc", "P2:btc"})
    assert found is not None
    assert found.coverage < 0.6


def test_a_class_without_bars_while_the_other_trades_is_degraded() -> None:
    a = Aggregator(MARKETS, "REF")
    run(a, T, T + 60)
    assert not run(a, T + 60, T + 80, "REF:btc", "P2:btc").degraded
    assert run(a, T + 80, T + 91, "REF:btc", "P2:btc").degraded


def test_a_large_change_of_the_markets_is_told_once() -> None:
    """How long it keeps new divergences away is for the strategy to count."""
    a = Aggregator(MARKETS, "REF")
    run(a, T, T + 1200)
    told = [
        t
        for t in range(T + 1200, T + 5000)
        if (found := a.second(t, bars(t, "S1:btc", "REF:btc", "P2:btc")))
        and found.composition_frozen
    ]
    assert len(told) == 1
    assert T + 2100 <= told[0] < T + 2200


def test_a_thin_market_is_as_alive_as_a_busy_one() -> None:
    """20 times its usual interval: a market that trades once a minute may be silent for long."""
    a = Aggregator(MARKETS, "REF")
    others = ("S1:btc", "REF:btc", "P2:btc")
    for t in range(T, T + 3600):
        found = bars(t, *others)
        if t % 60 == 0:
            found["S2:btc"] = bar("S2:btc", t, 200.0, 100.0)
        a.second(t, found)
    assert run(a, T + 3600, T + 4300, *others).coverage > 0.99
    assert run(a, T + 4300, T + 4900, *others).coverage < 0.6


def test_preferred_market_is_the_dollar_tether_perpetual_of_the_exchange() -> None:
    found = preferred_market(
        [market("REF:c", "perp", "USDC"), market("REF:t", "perp"), market("REF:s", "spot")], "REF"
    )
    assert found is not None
    assert found.market == "REF:t"
    assert preferred_market(MARKETS, "NONE") is None
