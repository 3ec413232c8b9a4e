"""Seconds that come live, are amended, or are read back."""

from __future__ import annotations

import random

import numpy as np
import pytest

from aggr_server.wire import Bar, Market
from services.dashboard.ring import empty
from services.dashboard.symbol import AMENDABLE_S, Stored, SymbolBars

BEGIN = 1_795_352_400
MARKETS = [
    Market("COINBASE:btc", "COINBASE", "BTC", "USD", "spot"),
    Market("KRAKEN:btc", "KRAKEN", "BTC", "USD", "spot"),
    Market("BINANCE_FUTURES:btcusdt", "BINANCE_FUTURES", "BTC", "USDT", "perp"),
    Market("BYBIT:btcusdt", "BYBIT", "BTC", "USDT", "perp"),
]
SPOT, PERP = MARKETS[0], MARKETS[2]


def bar(t: int, market: Market, vbuy: float = 3.0, vsell: float = 1.0, price: float = 10.0) -> Bar:
    return Bar(
        t, market.market, price, price + 2, price - 2, price + 1, vbuy, vsell, 1, 1, 5.0, 6.0
    )


def symbol() -> SymbolBars:
    found = SymbolBars("BTC")
    found.reference = PERP.market
    return found


def test_a_second_is_the_sum_over_its_markets_at_the_reference_markets_prices() -> None:
    btc = symbol()

    btc.take([(bar(BEGIN, m, vbuy=i + 1.0), m) for i, m in enumerate(MARKETS)])

    # Deltas: vbuy - 1 of 1, 2 (spot) and 3, 4 (perp); volumes: vbuy + 1.
    assert btc.ring.at(BEGIN).tolist() == [10, 12, 8, 11, 1, 5, 5, 9, 20, 24]
    assert btc.changed == {BEGIN}


def test_an_amended_bar_replaces_that_of_its_market_alone() -> None:
    btc = symbol()
    btc.take([(bar(BEGIN, SPOT), SPOT), (bar(BEGIN, PERP), PERP)])
    btc.take([(bar(BEGIN + 1, SPOT), SPOT)])
    btc.changed.clear()

    assert btc.take([(bar(BEGIN, SPOT, vbuy=100.0), SPOT)]) == []

    assert btc.ring.at(BEGIN)[4:6].tolist() == [99.0, 2.0]
    assert btc.changed == {BEGIN}


def test_the_same_bars_in_any_order_give_the_same_bits() -> None:
    rng = random.Random(3)
    bars = [
        (bar(BEGIN + i, m, rng.random() * 1e6, rng.random() * 1e6), m)
        for i in range(50)
        for m in MARKETS
    ]
    one, other = symbol(), symbol()
    for t in range(BEGIN, BEGIN + 50):
        one.reach(t)
        other.reach(t)
    one.take(bars)
    for each in rng.sample(bars, len(bars)):
        other.take([each])

    found = one.ring.between(BEGIN, BEGIN + 50)
    assert np.array_equal(found, other.ring.between(BEGIN, BEGIN + 50), equal_nan=True)


def test_a_bar_of_a_second_whose_others_are_not_at_hand_must_be_read_back() -> None:
    btc = symbol()
    btc.take([(bar(BEGIN, SPOT), SPOT)])
    btc.reach(BEGIN + AMENDABLE_S)

    assert btc.take([(bar(BEGIN, PERP), PERP)]) == [BEGIN]
    assert btc.ring.at(BEGIN)[5] == 0.0


def stored(from_s: int, flows: list[float]) -> Stored:
    columns = empty(len(flows))
    columns[4] = flows
    return Stored(from_s, from_s + len(flows), columns)


def test_what_is_stored_fills_holes_and_leaves_live_seconds_alone() -> None:
    btc = symbol()
    btc.take([(bar(BEGIN, SPOT), SPOT)])
    btc.ring.reach(BEGIN + 4)  # three seconds were not heard
    btc.take([(bar(BEGIN + 5, SPOT), SPOT)])

    changed = btc.replace(stored(BEGIN, [9.0, 8.0, 7.0, 6.0, 5.0, 4.0]))

    assert btc.ring.between(BEGIN, BEGIN + 6)[4].tolist() == [2.0, 8.0, 7.0, 6.0, 5.0, 2.0]
    assert changed == [(BEGIN + 1, BEGIN + 5)]


def test_seconds_known_to_be_incomplete_are_replaced() -> None:
    btc = symbol()
    btc.take([(bar(BEGIN, SPOT), SPOT)])

    btc.forget(BEGIN, BEGIN + 1)

    assert btc.replace(stored(BEGIN, [9.0])) == [(BEGIN, BEGIN + 1)]
    assert btc.ring.at(BEGIN)[4] == 9.0


def test_what_is_stored_and_known_already_changes_nothing() -> None:
    btc = symbol()
    btc.ring.reach(BEGIN)
    btc.replace(stored(BEGIN, [9.0]))

    assert btc.replace(stored(BEGIN, [9.0 + 1e-9])) == []


def test_volume_by_venue_follows_amendments() -> None:
    btc = symbol()
    btc.take([(bar(BEGIN, SPOT), SPOT), (bar(BEGIN, PERP), PERP)])
    btc.take([(bar(BEGIN, SPOT, vbuy=7.0, vsell=2.0), SPOT)])

    for _, rows in btc.venues.windows().values():
        assert {(venue, buy, sell) for venue, buy, sell in rows} == {
            (("COINBASE", "spot"), 7.0, 2.0),
            (("BINANCE_FUTURES", "perp"), 3.0, 1.0),
        }


def test_only_the_last_minutes_bars_are_kept_one_by_one() -> None:
    btc = symbol()
    for t in range(BEGIN, BEGIN + 3 * AMENDABLE_S):
        btc.take([(bar(t, SPOT), SPOT)])

    assert len(btc._live) == AMENDABLE_S
    assert btc.complete_from == BEGIN


@pytest.mark.parametrize("price", [0.0])
def test_a_market_that_never_traded_has_no_price(price: float) -> None:
    btc = symbol()
    forced = Bar(BEGIN, PERP.market, price, price, price, price, 0.0, 0.0, 0, 0, 0.0, 9.0)

    btc.take([(forced, PERP)])

    assert np.isnan(btc.ring.at(BEGIN)[:4]).all()
    assert btc.ring.at(BEGIN)[9] == 9.0
