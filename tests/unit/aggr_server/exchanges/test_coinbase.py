from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Ack, Rejection, Trade, Window

MATCH = (
    b'{"type":"match","trade_id":280232,"maker_order_id":"2a0da34e","taker_order_id":"3c82abaa",'
    b'"side":"sell","size":"985","price":"0.00001305","product_id":"SKL-BTC",'
    b'"sequence":177100030,"time":"2021-04-17T16:43:37.089723Z"}'
)
COINBASE = exchanges.get("COINBASE")


def test_the_maker_selling_means_that_the_taker_bought() -> None:
    assert COINBASE.parse(MATCH) == (
        Trade("SKL-BTC", 1618677817089, 0.00001305, 985.0, True, 280232, 280232),
    )
    (sold,) = COINBASE.parse(MATCH.replace(b'"sell"', b'"buy"'))
    assert isinstance(sold, Trade)
    assert not sold.is_buy


def test_times_are_exact_to_the_millisecond() -> None:
    for text, expected in (("37.001000Z", 7001), ("37.999999Z", 7999), ("37Z", 7000)):
        (trade,) = COINBASE.parse(MATCH.replace(b"37.089723Z", text.encode()))
        assert isinstance(trade, Trade)
        assert trade.ts_ms % 10_000 == expected


def test_the_trade_from_before_the_subscription_is_ignored() -> None:
    assert not COINBASE.parse(MATCH.replace(b'"match"', b'"last_match"'))


def test_answers_and_other_messages() -> None:
    answer = b'{"type":"subscriptions","channels":[{"name":"matches","product_ids":["BTC-USD"]}]}'
    assert COINBASE.parse(answer) == (Ack(),)
    error = b'{"type":"error","message":"Failed to subscribe","reason":"X-Y is not valid"}'
    assert COINBASE.parse(error) == (Rejection("Failed to subscribe X-Y is not valid"),)
    assert not COINBASE.parse(b'{"type":"heartbeat","sequence":1,"product_id":"BTC-USD"}')


def test_subscription_and_instruments() -> None:
    body = (
        b'[{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","status":"online"},'
        b'{"id":"OLD-USD","base_currency":"OLD","quote_currency":"USD","status":"delisted"}]'
    )
    (btc,) = COINBASE.instruments(body).instruments
    assert (btc.symbol, btc.base, btc.quote, btc.kind) == ("BTC-USD", "BTC", "USD", "spot")
    (message,) = COINBASE.subscriptions("spot", COINBASE.streams("spot", btc))
    assert msgspec.json.decode(message.text) == {
        "type": "subscribe",
        "channels": [{"name": "matches", "product_ids": ["BTC-USD"]}],
    }


def _page(ids: list[int], second: int) -> bytes:
    row = '{"trade_id":%d,"side":"buy","size":"1","price":"2","time":"2021-04-17T16:43:%02d.5Z"}'
    return ("[" + ",".join(row % (number, second) for number in ids) + "]").encode()


def test_the_past_is_walked_back_until_before_the_window() -> None:
    market = COINBASE.assume("SKL-USD")
    window = Window(1618677817000, 1618677818000)
    first = COINBASE.past(market, window)
    assert first is not None
    assert first.url.endswith("/products/SKL-USD/trades?limit=1000")
    newer = COINBASE.read_past(market, window, _page([30, 29], 50))
    assert newer.next is not None
    assert newer.next.url == first.url + "&after=29"
    inside = COINBASE.read_past(market, window, _page([28, 27], 37))
    assert inside.next is not None
    assert inside.trades[0] == Trade("SKL-USD", 1618677817500, 2.0, 1.0, False, 28, 28)
    assert COINBASE.read_past(market, window, _page([26], 36)).next is None
    assert COINBASE.read_past(market, window, b"[]").next is None


def test_a_time_without_zone_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        COINBASE.parse(MATCH.replace(b"089723Z", b"089723"))
