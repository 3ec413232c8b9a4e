from __future__ import annotations

import gzip

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Rejection, Reply, Trade, Window
from aggr_server.exchanges.huobi_frames import _MAX_FRAME
from aggr_server.markets import sizes

HUOBI = exchanges.get("HTX")
LINEAR = (
    b'{"ch":"market.GRT-USDT.trade.detail","ts":1645289380959,"tick":{"id":43131183313,'
    b'"ts":1645289380927,"data":[{"amount":4,"quantity":40,"trade_turnover":16.7648,'
    b'"ts":1645289380927,"id":431311833130000,"price":0.41912,"direction":"buy"}]}}'
)


def test_frames_are_read_packed_and_plain() -> None:
    assert HUOBI.parse(gzip.compress(LINEAR)) == HUOBI.parse(LINEAR)


@pytest.mark.parametrize(
    "frame",
    [
        gzip.compress(LINEAR)[:-12],
        gzip.compress(LINEAR)[:20] + b"\0" * 30,
        b"\x1f\x8b",
        gzip.compress(b" " * (_MAX_FRAME + 1), 9),
    ],
    ids=["cut", "damaged", "empty", "too large"],
)
def test_what_cannot_be_unpacked_is_an_unreadable_frame(frame: bytes) -> None:
    with pytest.raises(msgspec.DecodeError, match="gzip"):
        HUOBI.parse(frame)


def test_heartbeats_are_answered_as_each_socket_asks() -> None:
    assert HUOBI.parse(b'{"ping":1645289384000}') == (Reply('{"pong":1645289384000}'),)
    for ts in (b'"1492420473058"', b"1492420473058"):
        (reply,) = HUOBI.parse(b'{"op":"ping","ts":' + ts + b"}")
        assert reply == Reply('{"op":"pong","ts":' + ts.decode() + "}")


def test_contracts_count_both_sides_of_a_trade() -> None:
    body = (
        b'{"status":"ok","data":[{"symbol":"GRT","contract_code":"GRT-USDT","contract_size":10,'
        b'"contract_status":1,"contract_type":"swap"},{"symbol":"ATOM","contract_code":"ATOM-USD",'
        b'"contract_size":10,"contract_status":1},{"symbol":"BTC","contract_code":"BTC261225",'
        b'"contract_type":"quarter","contract_size":100,"contract_status":1}]}'
    )
    linear, inverse, dated = HUOBI.instruments(body).instruments
    assert (linear.channel, inverse.channel, dated.channel) == ("linear", "swap", "dated")
    assert (dated.symbol, dated.kind, dated.inverse) == ("BTC_CQ", "future", True)
    (trade,) = HUOBI.parse(LINEAR)
    assert isinstance(trade, Trade)
    assert trade.size == 2.0
    assert sizes(linear, 0.41912, 2.0) == pytest.approx((20.0, 8.3824))
    assert sizes(inverse, 25.0, 5.0) == (2.0, 50.0)


def test_forced_orders_have_sockets_of_their_own() -> None:
    for name, channel in HUOBI.channels.items():
        if "liquidations" in channel.carries:
            assert channel.carries == ("liquidations",)
            assert name == f"{channel.instruments_of}-liquidations"
    linear = HUOBI.assume("BTC-USDT")
    (market,) = HUOBI.subscriptions("linear", HUOBI.streams("linear", linear))
    streams = HUOBI.streams("linear-liquidations", linear)
    (forced,) = HUOBI.subscriptions("linear-liquidations", streams)
    assert msgspec.json.decode(market.text)["sub"] == "market.BTC-USDT.trade.detail"
    assert msgspec.json.decode(forced.text) == {
        "op": "sub",
        "cid": "BTC-USDT",
        "topic": "public.BTC-USDT.liquidation_orders",
    }


def test_a_refusal_names_its_market_by_the_id_of_the_request() -> None:
    (message,) = HUOBI.subscriptions("spot", HUOBI.streams("spot", HUOBI.assume("foousdt")))
    id = msgspec.json.decode(message.text)["id"]
    answer = {"id": id, "status": "error", "err-code": "bad-request", "err-msg": "invalid symbol"}
    assert HUOBI.parse(msgspec.json.encode(answer)) == (
        Rejection("bad-request invalid symbol", "foousdt", "trades"),
    )


@pytest.mark.parametrize(
    ("wire", "url"),
    [
        ("btcusdt", "https://api.huobi.pro/market/history/trade?symbol=btcusdt&size=2000"),
        ("BTC-USDT", "https://api.hbdm.com/linear-swap-ex/market/history/trade"
                     "?contract_code=BTC-USDT&size=2000"),
        ("BTC-USD", "https://api.hbdm.com/swap-ex/market/history/trade"
                    "?contract_code=BTC-USD&size=2000"),
        ("BTC_CQ", "https://api.hbdm.com/market/history/trade?symbol=BTC_CQ&size=2000"),
    ],
)  # fmt: skip
def test_each_market_has_its_own_place_for_the_past(wire: str, url: str) -> None:
    request = HUOBI.past(HUOBI.assume(wire), Window(0, 1))
    assert request is not None
    assert request.url == url


def test_a_refusal_is_not_an_empty_past() -> None:
    body = b'{"status":"error","err-code":"invalid-parameter","err-msg":"invalid symbol"}'
    with pytest.raises(msgspec.ValidationError, match="invalid symbol"):
        HUOBI.read_past(HUOBI.assume("btcusdt"), Window(0, 1), body)
