"""Messages made of a symbol's columns."""

from __future__ import annotations

from aggr_server.wire import Bar, Market
from services.core.views import View
from services.dashboard.market import row_of, second_of, venues_of
from services.dashboard.ring import SHOWN_S
from services.dashboard.symbol import SymbolBars

BEGIN = 1_795_352_400
NOW_MS = 1_795_400_000_123
PERP = Market("BYBIT:btcusdt", "BYBIT", "BTC", "USDT", "perp")


def bar(t: int, close: float, vbuy: float = 2.0) -> Bar:
    return Bar(t, PERP.market, close, close, close, close, vbuy, 1.0, 1, 1, 0.0, 0.0)


def symbol() -> SymbolBars:
    found = SymbolBars("BTC")
    found.reference = PERP.market
    return found


def test_a_second_without_a_trade_of_the_reference_has_no_bar() -> None:
    btc = symbol()
    btc.take([(bar(BEGIN, 100.0, 1.005), PERP)])
    btc.reach(BEGIN + 1)

    traded, silent = (second_of("BTCUSDT", btc, BEGIN + i, NOW_MS) for i in range(2))

    assert (traded.bar, traded.perp, traded.perp_volume) == ((100.0,) * 4, 0.0, 2.0)
    assert (silent.bar, silent.perp, silent.t) == (None, 0.0, BEGIN + 1)


def test_windows_begin_no_earlier_than_what_is_known() -> None:
    btc = symbol()
    btc.take([(bar(BEGIN, 100.0), PERP)])
    btc.reach(BEGIN + 100)

    venues = venues_of("BTCUSDT", btc, NOW_MS)

    assert venues.since == {"60": BEGIN + 41, "900": BEGIN, "14400": BEGIN}
    assert [flow.vbuy for flow in venues.flows["900"]] == [2.0]
    assert venues.flows["60"] == []


def test_the_change_of_four_hours_is_not_known_before_four_hours() -> None:
    btc = symbol()
    btc.take([(bar(BEGIN, 100.0), PERP)])
    btc.take([(bar(BEGIN + SHOWN_S - 1, 110.0), PERP)])
    assert row_of("BTCUSDT", btc, None, NOW_MS).change_4h is None

    btc.take([(bar(BEGIN + SHOWN_S, 120.0), PERP)])
    assert row_of("BTCUSDT", btc, None, NOW_MS).change_4h == 120.0 / 100.0 - 1.0


def test_a_row_names_the_second_of_its_price() -> None:
    btc = symbol()
    assert row_of("BTCUSDT", btc, None, NOW_MS).price is None
    btc.take([(bar(BEGIN, 100.0), PERP)])
    btc.reach(BEGIN + 40)

    row = row_of("BTCUSDT", btc, None, NOW_MS)

    assert (row.price, row.price_t) == (100.0, BEGIN)
    assert (row.state, row.age_ms) == ("", None)


def test_a_row_says_how_old_the_strategys_view_is() -> None:
    view = View(symbol="BTCUSDT", base="BTC", t=BEGIN, state="RESET", direction=-1, score=3.5)

    row = row_of("BTCUSDT", symbol(), (view, NOW_MS - 700), NOW_MS)

    assert (row.state, row.direction, row.score, row.age_ms) == ("RESET", -1, 3.5, 700)
