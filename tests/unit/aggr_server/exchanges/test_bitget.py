from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Liquidation, Trade, Window
from aggr_server.markets import sizes

BITGET = exchanges.get("BITGET")
TRADES = (
    b'{"data":[{"p":"100001","S":"sell","T":"1736348770628","v":"0.5","i":"12","isRPI":"no"},'
    b'{"p":"100000","S":"buy","T":"1736348770627","v":"0.25","i":"11","isRPI":"no"}],"arg":'
    b'{"instType":"usdt-futures","symbol":"BTCUSDT","topic":"publicTrade"},"action":"update",'
    b'"ts":1736371104297}'
)
FORCED = (
    b'{"data":[{"symbol":"BTCUSDT","side":"buy","price":"89000","amount":"8900",'
    b'"ts":"1736371332162"}],"arg":{"instType":"usdt-futures","topic":"liquidation"},'
    b'"action":"update","ts":1736371332162}'
)


def test_trades_come_newest_first_and_are_turned_round() -> None:
    assert BITGET.parse(TRADES) == [
        Trade("BTCUSDT", 1736348770627, 100000.0, 0.25, True, 11, 11),
        Trade("BTCUSDT", 1736348770628, 100001.0, 0.5, False, 12, 12),
    ]


@pytest.mark.parametrize("frame", [TRADES, FORCED])
def test_snapshots_are_history(frame: bytes) -> None:
    assert BITGET.parse(frame)
    assert not BITGET.parse(frame.replace(b'"update"', b'"snapshot"'))


def test_a_trade_without_price_is_an_error() -> None:
    assert BITGET.parse(TRADES.replace(b'"p":', b'"P":')) == BITGET.parse(TRADES)
    with pytest.raises(msgspec.ValidationError):
        BITGET.parse(TRADES.replace(b'"p":', b'"x":'))


def test_a_liquidated_long_is_a_forced_sell_of_that_many_dollars() -> None:
    (forced,) = BITGET.parse(FORCED)
    assert forced == Liquidation("BTCUSDT", 1736371332162, 89000.0, 0.1, False)
    assert sizes(BITGET.assume("BTCUSDT"), forced.price, forced.size) == pytest.approx(
        (0.1, 8900.0)
    )


def test_a_forced_order_without_price_has_no_size() -> None:
    (forced,) = BITGET.parse(FORCED.replace(b'"89000"', b'"0"'))
    assert isinstance(forced, Liquidation)
    assert forced.size == 0.0


def test_coin_margined_contracts_are_dollars_under_a_name_of_their_own() -> None:
    market = BITGET.assume("BTCUSD_CM")
    assert (market.symbol, market.wire, market.channel) == ("BTCUSD", "BTCUSD_CM", "coin-futures")
    assert sizes(market, 100_000.0, 5000.0) == (0.05, 5000.0)
    frame = FORCED.replace(b"usdt-futures", b"coin-futures").replace(b"BTCUSDT", b"BTCUSD")
    (forced,) = BITGET.parse(frame)
    assert forced == Liquidation("BTCUSD_CM", 1736371332162, 89000.0, 8900.0, False)
    assert BITGET.past(market, Window(0, 1)) is None


@pytest.mark.parametrize(
    ("wire", "symbol", "channel", "quote"),
    [
        ("BTCUSDT-SPOT", "BTCUSDT-SPOT", "spot", "USDT"),
        ("BTCUSDT", "BTCUSDT", "usdt-futures", "USDT"),
        ("BTCPERP", "BTCPERP", "usdc-futures", "USDC"),
    ],
)
def test_markets_known_by_rule(wire: str, symbol: str, channel: str, quote: str) -> None:
    found = BITGET.assume(wire)
    assert (found.symbol, found.channel, found.base, found.quote) == (
        *(symbol, channel, "BTC"),
        quote,
    )


def test_one_subscription_brings_all_forced_orders() -> None:
    market = BITGET.assume("BTCUSDT")
    streams = [s for _ in range(24) for s in BITGET.streams("usdt-futures", market)]
    messages = BITGET.subscriptions("usdt-futures", streams)
    args = [a for m in messages for a in msgspec.json.decode(m.text)["args"]]
    assert [m.acks for m in messages] == [20, 5]
    assert args[0] == {"instType": "usdt-futures", "topic": "publicTrade", "symbol": "BTCUSDT"}
    assert args[-1] == {"instType": "usdt-futures", "topic": "liquidation"}
    assert all(c.max_streams < 50 for c in BITGET.channels.values())


def test_the_past_is_walked_back_by_number_within_the_window() -> None:
    market, window = BITGET.assume("BTCUSDT-SPOT"), Window(1000, 2000)
    first = BITGET.past(market, window)
    assert first is not None
    rows = [
        {"tradeId": str(5000 - n), "price": "2", "size": "1", "side": "Sell", "ts": "1500"}
        for n in range(1000)
    ]
    body = msgspec.json.encode({"code": "00000", "msg": "success", "data": rows})
    page = BITGET.read_past(market, window, body)
    assert page.trades[0] == Trade("BTCUSDT", 1500, 2.0, 1.0, False, "5000", 5000)
    assert page.next is not None
    assert page.next.url == first.url + "&idLessThan=4001"
    body = msgspec.json.encode({"code": "00000", "msg": "success", "data": rows[:5]})
    assert BITGET.read_past(market, window, body).next is None
    with pytest.raises(msgspec.ValidationError, match="40034"):
        BITGET.read_past(market, window, b'{"code":"40034","msg":"Parameter does not exist"}')
