from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggr_server.wire import Market
from services.market.backfill import (
    LONG_RUN_MIN,
    OVERLAP_MIN,
    Parts,
    Ratio,
    Run,
    enlarged,
    fill,
    leading,
    runs_of,
)
from services.market.history import MinuteTable
from services.market.klines import parse, serves

BEGIN = 60 * 1000
LATER = BEGIN + 60 * 200
OHLC = (100.0, 101.0, 99.0, 100.0)


def table(
    minutes: range, delta: float, volume: float, ohlc: tuple[float, float, float, float] = OHLC
) -> MinuteTable:
    flow = ((volume + delta) / 2, (volume - delta) / 2)
    return MinuteTable(
        dict.fromkeys(minutes, ohlc),
        {"spot": dict.fromkeys(minutes, flow), "perp": dict.fromkeys(minutes, flow)},
    )


def parts(known_from: int, known_to: int) -> Parts:
    """Candles of everything; collectors know all markets, thrice as much, in a part of it."""
    known = range(known_from, known_to, 60)
    return Parts(
        table(known, 30.0, 500.0, (110.0, 111.1, 108.9, 110.0)),
        table(known, 10.0, 100.0),
        table(range(BEGIN, LATER, 60), -10.0, 100.0),
    )


def test_missing_minutes_become_runs() -> None:
    assert runs_of([180, 60, 120, 300]) == [Run(60, 240), Run(300, 360)]


def test_filled_flow_has_the_size_of_all_markets_and_the_candles_direction() -> None:
    begin = BEGIN + 60 * 100
    found = fill(parts(begin, LATER), BEGIN, LATER)
    assert found.minutes == tuple(range(BEGIN, begin, 60))
    for kind in ("spot", "perp"):
        buy, sell = found.table.flows[kind][BEGIN]
        assert buy - sell == pytest.approx(-30.0)
        assert buy + sell == pytest.approx(500.0)


def test_filled_prices_meet_those_of_the_reference() -> None:
    begin = BEGIN + 60 * 100
    found = fill(parts(begin, LATER), BEGIN, LATER)
    assert found.table.prices[BEGIN] == pytest.approx((110.0, 111.1, 108.9, 110.0))


def test_what_collectors_have_seen_is_never_replaced() -> None:
    begin = BEGIN + 60 * 100
    given_ = parts(begin, LATER)
    found = fill(given_, BEGIN, LATER)
    assert all(found.table.flows["spot"][t] == given_.exact.flows["spot"][t]
               for t in range(begin, LATER, 60))  # fmt: skip
    assert not set(found.minutes) & given_.exact.known


def test_nothing_is_used_before_both_are_known_for_half_an_hour() -> None:
    begin = LATER - 60 * OVERLAP_MIN
    found = fill(parts(begin, LATER), BEGIN, LATER)
    assert found.minutes == ()
    assert found.usable_at == begin + 60 * (OVERLAP_MIN + 1) + 1
    assert found.whole_from == BEGIN
    enough = fill(parts(begin - 60, LATER), BEGIN, LATER)
    assert enough.minutes[-1] == begin - 120
    assert set(enough.known_at) == set(enough.minutes)
    assert set(enough.known_at.values()) == {LATER}


def test_seconds_begin_after_a_long_run_with_the_first_whole_minute() -> None:
    begin = BEGIN + 60 * 100
    assert fill(parts(begin, LATER), BEGIN, LATER).whole_from == begin + 60
    short = BEGIN + 60 * (LONG_RUN_MIN - 1)
    assert fill(parts(short, LATER), BEGIN, LATER).whole_from == BEGIN


def test_a_class_that_the_candles_hardly_carry_is_not_filled() -> None:
    begin = BEGIN + 60 * 100
    given_ = parts(begin, LATER)
    given_.own.flows["spot"].clear()
    found = fill(given_, BEGIN, LATER)
    assert found.minutes == ()
    assert "spot" in found.problem


def test_without_candles_the_holes_stay() -> None:
    begin = BEGIN + 60 * 100
    given_ = parts(begin, LATER)
    given_.candles = MinuteTable()
    found = fill(given_, BEGIN, LATER)
    assert found.minutes == ()
    assert found.table.known == given_.exact.known


@given(
    st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0.01, 100.0), st.floats(0.01, 100.0)
)  # fmt: skip
def test_enlarging_scales_sum_and_difference(
    buy: float, sell: float, delta: float, volume: float
) -> None:
    b, s = enlarged((buy, sell), Ratio(delta, volume))
    size = (buy + sell) * max(delta, volume)
    assert b - s == pytest.approx((buy - sell) * delta, abs=1e-9 * size + 1e-12)
    assert b + s == pytest.approx((buy + sell) * volume, abs=1e-9 * size + 1e-12)


def market(name: str, kind: str = "perp") -> Market:
    return msgspec.convert(
        {"market": name, "exchange": name.partition(":")[0], "base": "BTC", "quote": "USDT",
         "kind": kind}, Market,
    )  # fmt: skip


def test_only_markets_whose_candles_tell_the_taker_in_quote_are_asked() -> None:
    assert serves(market("BINANCE:btcusdt", "spot"))
    assert serves(market("BINANCE_FUTURES:btcusdt"))
    assert not serves(market("BINANCE_FUTURES:btcusd_perp"))
    assert not serves(market("BYBIT:BTCUSDT"))


def test_the_reference_market_leads_if_it_has_candles() -> None:
    usdc, usdt = market("BINANCE_FUTURES:btcusdc"), market("BINANCE_FUTURES:btcusdt")
    assert leading([usdc, usdt], usdc) == usdc
    assert leading([usdt], market("BYBIT:BTCUSDT")) == usdt
    assert leading([market("BINANCE:btcusdt", "spot")], usdt) is None


ROW = [
    60_000, "100.0", "102.0", "99.0", "101.0", "5.0", 119_999, "500.0", 42, "3.0", "300.0", "0",
]  # fmt: skip


def test_a_candle_is_read_by_its_fields() -> None:
    (kline,) = parse(msgspec.json.encode([ROW]))
    assert kline == (60, 100.0, 102.0, 99.0, 101.0, 300.0, 200.0, 42)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[[1,2]]",
        msgspec.json.encode([[*ROW[:10], "501.0", "0"]]),
        msgspec.json.encode([[*ROW[:3], "0", *ROW[4:]]]),
    ],
)
def test_what_is_no_candle_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="candle"):
        parse(body)
