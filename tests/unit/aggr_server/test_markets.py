from __future__ import annotations

import pytest

from aggr_server import exchanges
from aggr_server.bars import BarBuilder
from aggr_server.exchanges.base import Instrument, Liquidation, Trade
from aggr_server.markets import MarketState, sizes
from aggr_server.wire import Bar

T0 = 1_700_000_000
OKEX = exchanges.get("OKEX")


def _market(wire: str) -> tuple[MarketState, BarBuilder]:
    builder = BarBuilder()
    builder.advance(T0 * 1000 + 200)
    instrument = OKEX.assume(wire)
    return MarketState(OKEX, instrument, builder.series(OKEX.market(instrument))), builder


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
