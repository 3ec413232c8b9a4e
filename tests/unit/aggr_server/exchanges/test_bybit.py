from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Ack, Liquidation, Rejection, Trade, Window
from aggr_server.markets import sizes

UUID = "20f43950-d8dd-5b31-9112-a178eb6023af"
TRADES = (
    b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{'
    b'"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick",'
    b'"i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"seq":1783284617}]}'
)
LIQUIDATION = (
    b'{"topic":"allLiquidation.ROSEUSDT","type":"snapshot","ts":1739502303204,"data":[{'
    b'"T":1739502302929,"s":"ROSEUSDT","S":"Sell","v":"20000","p":"0.04499"}]}'
)
BYBIT = exchanges.get("BYBIT")


def test_a_trade_carries_the_side_of_the_taker() -> None:
    assert BYBIT.parse(TRADES) == [
        Trade("BTCUSDT", 1672304486865, 16578.5, 0.001, True, UUID, 1783284617)
    ]


def test_a_liquidated_position_means_the_opposite_forced_order() -> None:
    assert BYBIT.parse(LIQUIDATION) == [
        Liquidation("ROSEUSDT", 1739502302929, 0.04499, 20000.0, True)
    ]


def test_answers_and_other_messages() -> None:
    assert BYBIT.parse(b'{"success":true,"ret_msg":"","op":"subscribe"}') == (Ack(),)
    refusal = b'{"success":false,"ret_msg":"handler not found","op":"subscribe"}'
    assert BYBIT.parse(refusal) == (Rejection("handler not found"),)
    assert not BYBIT.parse(b'{"success":true,"ret_msg":"pong","op":"ping"}')
    assert not BYBIT.parse(b'{"topic":"orderbook.1.BTCUSDT","type":"delta","data":{"s":"BTCUSDT"}}')


def test_spot_accepts_ten_arguments_and_has_no_liquidations() -> None:
    spot = [s for n in range(12) for s in BYBIT.streams("spot", BYBIT.assume(f"C{n}USDT-SPOT"))]
    first, second = BYBIT.subscriptions("spot", spot)
    topics = msgspec.json.decode(first.text)["args"]
    assert len(topics) == 10
    assert topics[0] == "publicTrade.C0USDT"
    assert len(msgspec.json.decode(second.text)["args"]) == 2
    (linear,) = BYBIT.subscriptions("linear", BYBIT.streams("linear", BYBIT.assume("BTCUSDT")))
    assert msgspec.json.decode(linear.text)["args"] == [
        "publicTrade.BTCUSDT",
        "allLiquidation.BTCUSDT",
    ]


def test_instruments_are_read_page_by_page() -> None:
    body = (
        b'{"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[{"symbol":"BTCUSDT",'
        b'"contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC","quoteCoin":"USDT"},'
        b'{"symbol":"XUSDT","contractType":"LinearPerpetual","status":"PreLaunch","baseCoin":"X",'
        b'"quoteCoin":"USDT"}],"nextPageCursor":"a%3D1"}}'
    )
    page = BYBIT.instruments(body)
    assert [(i.symbol, i.kind, i.channel) for i in page.instruments] == [
        ("BTCUSDT", "perp", "linear")
    ]
    assert page.next is not None
    assert page.next.url.endswith("category=linear&limit=1000&cursor=a%3D1")
    with pytest.raises(msgspec.ValidationError, match="10001"):
        BYBIT.instruments(b'{"retCode":10001,"retMsg":"params error","result":{}}')


@pytest.mark.parametrize(
    ("wire", "symbol", "kind", "channel", "quote"),
    [
        ("BTCUSDT", "BTCUSDT", "perp", "linear", "USDT"),
        ("BTCUSDT-SPOT", "BTCUSDT-SPOT", "spot", "spot", "USDT"),
        ("BTCPERP", "BTCPERP", "perp", "linear", "USDC"),
        ("BTC-26DEC26", "BTC-26DEC26", "future", "linear", "USDC"),
        ("BTCUSDT-26DEC26", "BTCUSDT-26DEC26", "future", "linear", "USDT"),
        ("BTCUSD", "BTCUSD", "perp", "inverse", "USD"),
        ("BTCUSDZ26", "BTCUSDZ26", "future", "inverse", "USD"),
    ],
)
def test_markets_known_by_rule(wire: str, symbol: str, kind: str, channel: str, quote: str) -> None:
    found = BYBIT.assume(wire)
    assert (found.symbol, found.kind, found.channel) == (symbol, kind, channel)
    assert (found.base, found.quote, found.inverse) == ("BTC", quote, channel == "inverse")


def test_only_spot_numbers_its_trades() -> None:
    trade = Trade("BTCUSDT", 1, 1.0, 1.0, True, "2290000000061666327")
    assert BYBIT.assume("BTCUSDT", trade).symbol == "BTCUSDT-SPOT"
    trade.id = UUID
    assert BYBIT.assume("BTCUSDT", trade).symbol == "BTCUSDT"


def test_the_past_is_only_the_newest_trades_and_says_since_when() -> None:
    market = BYBIT.assume("BTCUSDT")
    body = (
        b'{"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[{"execId":"b",'
        b'"symbol":"BTCUSDT","price":"16578.5","size":"0.25","side":"Buy","time":"1672304486867",'
        b'"isBlockTrade":false,"seq":"9"},{"execId":"a","symbol":"BTCUSDT","price":"16578.4",'
        b'"size":"0.5","side":"Sell","time":"1672304486400","isBlockTrade":false,"seq":"8"}]}}'
    )
    past = BYBIT.read_past(market, Window(0, 1672304487000), body)
    assert past.trades == [
        Trade("BTCUSDT", 1672304486867, 16578.5, 0.25, True, "b", 9),
        Trade("BTCUSDT", 1672304486400, 16578.4, 0.5, False, "a", 8),
    ]
    assert past.next is None
    assert past.since_ms == 1672304486401


def test_an_empty_past_tells_nothing_of_the_window() -> None:
    body = b'{"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[]}}'
    assert BYBIT.read_past(BYBIT.assume("BTCUSDT"), Window(0, 5000), body).since_ms == 5000
    with pytest.raises(msgspec.ValidationError, match="10001"):
        BYBIT.read_past(
            BYBIT.assume("BTCUSDT"), Window(0, 1), b'{"retCode":10001,"retMsg":"x","result":{}}'
        )


@pytest.mark.parametrize(
    ("wire", "query"),
    [
        ("BTCUSDT", "category=linear&symbol=BTCUSDT&limit=1000"),
        ("BTCUSDT-SPOT", "category=spot&symbol=BTCUSDT&limit=60"),
        ("BTCUSD", "category=inverse&symbol=BTCUSD&limit=1000"),
    ],
)
def test_each_family_is_asked_for_as_many_as_it_gives(wire: str, query: str) -> None:
    request = BYBIT.past(BYBIT.assume(wire), Window(0, 1))
    assert request is not None
    assert request.url.endswith(f"/recent-trade?{query}")


def test_inverse_contracts_have_their_socket_and_are_a_dollar_each() -> None:
    inverse = BYBIT.assume("BTCUSD")
    assert BYBIT.channels[inverse.channel].url.endswith("/v5/public/inverse")
    assert sizes(inverse, 16570.0, 3314.0) == (0.2, 3314.0)
    assert any("category=inverse" in request.url for request in BYBIT.discovery)
    assert [s.kind for s in BYBIT.streams("inverse", inverse)] == ["trades", "liquidations"]
