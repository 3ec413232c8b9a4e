from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggr_server import clock, exchanges
from aggr_server.bars import BarBuilder
from aggr_server.exchanges.base import Instrument, Liquidation, Trade
from aggr_server.markets import MarketState, sizes
from aggr_server.wire import Bar

T0 = 1_700_000_000
OKEX = exchanges.get("OKEX")


def _market(wire: str, venue: str = "OKEX") -> tuple[MarketState, BarBuilder]:
    adapter = exchanges.get(venue)
    builder = BarBuilder()
    builder.advance(T0 * 1000 + 200)
    instrument = adapter.assume(wire)
    return MarketState(adapter, instrument, builder.series(adapter.market(instrument))), builder


def _trade(n: int) -> Trade:
    return Trade("", T0 * 1000 + n, 100.0 + n, 1.0, True, n, n)


def _bar(builder: BarBuilder) -> Bar:
    (closed,) = builder.advance((T0 + 1) * 1000 + 200)
    return closed.bars[0]


@pytest.mark.parametrize(
    ("wire", "base", "notional"),
    [
        ("BTC-USDT", 2.0, 100_000.0),
        ("BTC-USDT-SWAP", 0.02, 1000.0),
        ("BTC-USD-SWAP", 0.004, 200.0),
    ],
)
def test_sizes_of_spot_linear_and_inverse(wire: str, base: float, notional: float) -> None:
    assert sizes(OKEX.assume(wire), 50_000.0, 2.0) == pytest.approx((base, notional), rel=1e-12)
    market, builder = _market(wire)
    market.trade(Trade(wire, T0 * 1000, 50_000.0, 2.0, True, 1))
    market.liquidation(Liquidation(wire, T0 * 1000, 50_000.0, 2.0, False))
    bar = _bar(builder)
    assert [bar.vbuy, bar.lsell] == pytest.approx([notional, notional])


def test_an_unknown_contract_cannot_be_followed() -> None:
    unknown = OKEX.assume("IOST-USDT-SWAP")
    assert sizes(unknown, 1.0, 1.0) is None
    with pytest.raises(ValueError, match="OKEX:IOST-USDT-SWAP: contract size unknown"):
        MarketState(OKEX, unknown, BarBuilder().series("OKEX:IOST-USDT-SWAP"))


def test_a_trade_that_arrives_again_counts_once() -> None:
    market, builder = _market("BTC-USDT")
    for id in (1, 2, 1, 2, 3):
        market.trade(Trade("BTC-USDT", T0 * 1000, 10.0, 1.0, True, id))
    event = Liquidation("BTC-USDT", T0 * 1000, 10.0, 1.0, True)
    market.liquidation(event)
    market.liquidation(event)
    bar = _bar(builder)
    assert (bar.cbuy, bar.vbuy, bar.lbuy) == (3, 30.0, 10.0)
    assert (market.trades, market.liquidations, market.duplicates) == (3, 1, 3)


def test_a_forced_order_with_an_id_counts_once_and_equal_ones_with_other_ids_too() -> None:
    market, builder = _market("BTC-USDT-SWAP")
    for id in (7, 8, 7):
        market.liquidation(Liquidation("", T0 * 1000, 10.0, 100.0, True, id))
    assert (market.liquidations, market.duplicates) == (2, 1)
    assert market.last_liquidation_ms == T0 * 1000
    assert _bar(builder).lbuy == 20.0


@given(st.permutations(range(30)), st.lists(st.integers(0, 29), max_size=30))
@settings(max_examples=50, deadline=None)
@pytest.mark.parametrize("venue", ["OKEX", "BINANCE"])
def test_c15_a_session_replayed_leaves_the_bars_of_one_pass(
    venue: str, arriving: list[int], again: list[int]
) -> None:
    once, one = _market("BTC-USDT", venue)
    twice, two = _market("BTC-USDT", venue)
    for n in arriving:
        once.trade(_trade(n))
    for n in [*arriving, *again, *arriving]:
        twice.trade(_trade(n))
    assert _bar(one) == _bar(two)
    assert (twice.trades, twice.duplicates) == (30, 30 + len(again))


def test_jumps_are_told_where_the_venue_numbers_without_gaps() -> None:
    market, _ = _market("BTCUSDT", "BINANCE")
    for n in (1, 2, 5):
        market.trade(_trade(n))
    clock.adjust("1000*1000000")
    try:
        assert market.take_jumps() == [(T0 * 1000 + 2, T0 * 1000 + 5)]
    finally:
        clock.adjust("")
    assert market.take_jumps() == []
    other, _ = _market("BTC-USDT")
    for n in (1, 2, 5):
        other.trade(_trade(n))
    assert other.take_jumps() == []


def test_a_jump_while_the_market_is_not_live_yet_knows_its_times() -> None:
    market, _ = _market("BTCUSDT", "BINANCE")
    market.series.first_s = T0 + 100
    for n in (1, 2, 5):
        market.trade(_trade(n))
    assert (market.trades, market.last_trade_ms) == (0, T0 * 1000 + 5)
    clock.adjust("1000*1000000")
    try:
        assert market.take_jumps() == [(T0 * 1000 + 2, T0 * 1000 + 5)]
    finally:
        clock.adjust("")


@pytest.mark.parametrize("venue", ["OKEX", "BINANCE"])
def test_late_duplicates_of_rebuilt_trades_do_not_count_twice(venue: str) -> None:
    market, builder = _market("BTC-USDT", venue)
    for n in (1, 2, 5):
        market.trade(_trade(n))
    builder.advance((T0 + 2) * 1000 + 200)
    listed = [_trade(n) for n in (5, 4, 4, 3, 2, 1)]
    assert market.rebuild(listed, T0, T0 + 1)
    for n in (3, 4, 5):
        market.trade(_trade(n))
    market.trade(_trade(6))
    (closed,) = builder.advance((T0 + 3) * 1000 + 200)
    assert [(bar.cbuy, bar.close) for bar in closed.amended] == [(6, 106.0)]
    assert (market.trades, market.duplicates) == (4, 3)
    assert market.take_jumps() == []


def test_trades_of_a_second_that_was_not_taken_over_may_still_come() -> None:
    market, builder = _market("BTC-USDT")
    for n in (1, 2):
        market.trade(_trade(n))
    builder.advance((T0 + 2) * 1000 + 200)
    assert not market.rebuild([_trade(3)], T0, T0 + 1)
    market.trade(_trade(3))
    (closed,) = builder.advance((T0 + 3) * 1000 + 200)
    assert [bar.cbuy for bar in closed.amended] == [3]


def test_a_rebuild_takes_units_and_validity_as_the_stream_does() -> None:
    market, builder = _market("BTC-USD-SWAP")
    builder.advance((T0 + 2) * 1000 + 200)
    listed = [_trade(1), _trade(2), Trade("", T0 * 1000, float("nan"), 1.0, True, 3)]
    assert market.rebuild([*listed, _trade(1001)], T0, T0 + 1)
    (closed,) = builder.advance((T0 + 3) * 1000 + 200)
    assert [(bar.time, bar.vbuy) for bar in closed.amended] == [(T0, 200.0)]
    assert market.invalid == 1


def test_without_order_numbers_a_list_that_is_newest_first_is_turned_round() -> None:
    market, builder = _market("BTC-USDT")
    builder.advance((T0 + 2) * 1000 + 200)
    listed = [
        Trade("", T0 * 1000 + ms, price, 1.0, True, "")
        for ms, price in ((9, 4.0), (9, 3.0), (1, 2.0), (1, 1.0))
    ]
    assert market.rebuild(listed, T0, T0 + 1)
    (closed,) = builder.advance((T0 + 3) * 1000 + 200)
    assert [(bar.open, bar.close, bar.cbuy) for bar in closed.amended] == [(1.0, 4.0, 4)]


def test_what_may_have_been_counted_is_not_counted_again_but_told() -> None:
    market, builder = _market("BTC-USDT")
    for n in range(200_000):
        market.trade(Trade("", T0 * 1000 + n // 400, 10.0, 1.0, True, str(n)))
    counted = market.trades
    market.trade(Trade("", T0 * 1000, 10.0, 1.0, True, "0"))
    assert market.trades == counted
    assert builder.take_too_late() == [("OKEX:BTC-USDT", T0)]


def test_trades_without_an_id_all_count() -> None:
    market, builder = _market("BTC-USDT")
    for _ in range(2):
        market.trade(Trade("BTC-USDT", T0 * 1000, 10.0, 1.0, True, ""))
    assert _bar(builder).cbuy == 2


@pytest.mark.parametrize(
    ("price", "size"),
    [
        *((0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0), (1.0, float("inf"))),
        *((1e13, 1e-6), (1.0, 1e13)),
    ],
)
def test_impossible_numbers_are_refused_and_counted(price: float, size: float) -> None:
    market, builder = _market("BTC-USDT")
    market.trade(Trade("BTC-USDT", T0 * 1000, price, size, True, 1))
    market.liquidation(Liquidation("BTC-USDT", T0 * 1000, price, size, True))
    assert market.invalid == 2
    assert builder.advance((T0 + 1) * 1000 + 200)[0].bars == []


def test_the_record_tells_what_the_market_is() -> None:
    market, _ = _market("BTC-USDT-SWAP")
    record = market.record()
    assert (record.market, record.exchange) == ("OKEX:BTC-USDT-SWAP", "OKEX")
    assert (record.base, record.quote, record.kind) == ("BTC", "USDT", "perp")
    assert isinstance(market.instrument, Instrument)
