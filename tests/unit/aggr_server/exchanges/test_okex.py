from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Ack, Leaving, Liquidation, Rejection, Trade, Window

TRADES = (
    b'{"arg":{"channel":"trades","instId":"UNI-USD-SWAP"},"data":[{"instId":"UNI-USD-SWAP",'
    b'"tradeId":"12883020","px":"5.123","sz":"100","side":"sell","ts":"1652459215150"},'
    b'{"instId":"UNI-USD-SWAP","tradeId":"12883021","px":"5.124","sz":"1","side":"buy",'
    b'"ts":"1652459215151","count":"2","seqId":7}]}'
)
LIQUIDATIONS = (
    b'{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":['
    b'{"bkLoss":"0","bkPx":"0.007831","ccy":"","posSide":"short","side":"buy","sz":"13",'
    b'"ts":"1692266434010"},{"bkLoss":"0","bkPx":"0.0079","ccy":"","posSide":"long",'
    b'"side":"sell","sz":"2","ts":"1692266434011"}],"instFamily":"IOST-USDT",'
    b'"instId":"IOST-USDT-SWAP","instType":"SWAP","uly":"IOST-USDT"}]}'
)
OKEX = exchanges.get("OKEX")


def test_every_trade_of_a_frame() -> None:
    assert OKEX.parse(TRADES) == [
        Trade("UNI-USD-SWAP", 1652459215150, 5.123, 100.0, False, 12883020, 12883020),
        Trade("UNI-USD-SWAP", 1652459215151, 5.124, 1.0, True, 12883021, 12883021),
    ]


def test_every_forced_order_of_a_frame() -> None:
    assert OKEX.parse(LIQUIDATIONS) == [
        Liquidation("IOST-USDT-SWAP", 1692266434010, 0.007831, 13.0, True),
        Liquidation("IOST-USDT-SWAP", 1692266434011, 0.0079, 2.0, False),
    ]


@pytest.mark.parametrize(
    "frame",
    [
        b"pong",
        b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[]}]}',
        b'{"event":"channel-conn-count","channel":"trades","connCount":"1"}',
    ],
)
def test_everything_else_is_ignored(frame: bytes) -> None:
    assert not OKEX.parse(frame)


def test_answers_name_the_instrument_that_was_refused() -> None:
    good = b'{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"},"connId":"a"}'
    assert OKEX.parse(good) == (Ack(),)
    bad = (
        b'{"event":"error","code":"60018","msg":"Wrong URL or channel:trades,instId:XYZ-USDT '
        b"doesn't exist.\"}"
    )
    (refusal,) = OKEX.parse(bad)
    assert isinstance(refusal, Rejection)
    assert refusal.wire == "XYZ-USDT"


def test_contract_sizes_come_with_the_instruments() -> None:
    body = (
        b'{"code":"0","msg":"","data":['
        b'{"instId":"BTC-USDT-SWAP","instType":"SWAP","uly":"BTC-USDT","ctType":"linear",'
        b'"ctVal":"0.01","ctMult":"1","state":"live","baseCcy":"","quoteCcy":""},'
        b'{"instId":"BTC-USD-SWAP","instType":"SWAP","uly":"BTC-USD","ctType":"inverse",'
        b'"ctVal":"100","ctMult":"1","state":"live","baseCcy":"","quoteCcy":""},'
        b'{"instId":"OLD-USDT-SWAP","instType":"SWAP","uly":"OLD-USDT","ctType":"linear",'
        b'"ctVal":"1","ctMult":"1","state":"suspend"}]}'
    )
    linear, inverse = OKEX.instruments(body).instruments
    assert (linear.base, linear.quote, linear.kind) == ("BTC", "USDT", "perp")
    assert (linear.inverse, linear.contract_size) == (False, 0.01)
    assert (inverse.inverse, inverse.contract_size) == (True, 100.0)


def test_an_error_instead_of_instruments_is_not_an_empty_list() -> None:
    with pytest.raises(msgspec.ValidationError, match="50011"):
        OKEX.instruments(b'{"code":"50011","msg":"Too many requests","data":[]}')


def test_one_confirmation_is_expected_for_each_argument() -> None:
    both = OKEX.assume("BTC-USDT"), OKEX.assume("BTC-USDT-SWAP")
    streams = [stream for i in both for stream in OKEX.streams("public", i)]
    (message,) = OKEX.subscriptions("public", streams)
    assert message.acks == 3
    assert msgspec.json.decode(message.text)["args"][-1] == {
        "channel": "liquidation-orders",
        "instType": "SWAP",
    }


@pytest.mark.parametrize(
    ("wire", "kind", "inverse", "size"),
    [
        ("BTC-USDT", "spot", False, 1.0),
        ("BTC-USDT-SWAP", "perp", False, 0.01),
        ("ETH-USDT-SWAP", "perp", False, 0.1),
        ("BTC-USD-220527", "future", True, 100.0),
        ("UNI-USD-SWAP", "perp", True, 10.0),
        ("IOST-USDT-SWAP", "perp", False, None),
    ],
)
def test_contracts_known_by_rule(wire: str, kind: str, inverse: bool, size: float | None) -> None:
    found = OKEX.assume(wire)
    assert (found.kind, found.inverse, found.contract_size) == (kind, inverse, size)


def _past(rows: list[tuple[int, int]]) -> bytes:
    data = [
        {"instId": "BTC-USDT", "side": "buy", "sz": "1", "px": "2", "tradeId": str(number),
         "ts": str(ts_ms)}
        for number, ts_ms in rows
    ]  # fmt: skip
    return msgspec.json.encode({"code": "0", "msg": "", "data": data})


def test_the_past_is_asked_by_time_and_walked_back_by_number() -> None:
    """More than a page of trades may share a millisecond: times would skip some of them."""
    market, window = OKEX.assume("BTC-USDT"), Window(1000, 2000)
    first = OKEX.past(market, window)
    assert first is not None
    assert first.url.endswith("/history-trades?instId=BTC-USDT&type=2&after=2000&limit=100")
    page = OKEX.read_past(market, window, _past([(9, 1500), (8, 1500)]))
    assert page.trades[0] == Trade("BTC-USDT", 1500, 2.0, 1.0, True, 9, 9)
    assert page.next is not None
    assert page.next.url.endswith("?instId=BTC-USDT&type=1&after=8&limit=100")
    assert OKEX.read_past(market, window, _past([(7, 1000)])).next is not None
    assert OKEX.read_past(market, window, _past([(6, 1000), (5, 999)])).next is None
    assert OKEX.read_past(market, window, _past([])).next is None
    with pytest.raises(msgspec.ValidationError, match="50011"):
        OKEX.read_past(market, window, b'{"code":"50011","msg":"Too many requests","data":[]}')


def test_forced_orders_of_dated_contracts_are_subscribed_to_apart() -> None:
    both = OKEX.assume("BTC-USDT-SWAP"), OKEX.assume("BTC-USD-261225")
    streams = [s for i in both for s in OKEX.streams("public", i) if s.kind == "liquidations"]
    (message,) = OKEX.subscriptions("public", streams)
    args = msgspec.json.decode(message.text)["args"]
    assert [a["instType"] for a in args] == ["SWAP", "FUTURES"]
    assert message.acks == 2


def test_a_contract_without_size_is_not_guessed() -> None:
    body = (
        b'{"code":"0","msg":"","data":[{"instId":"X-USDT-SWAP","instType":"SWAP",'
        b'"uly":"X-USDT","ctType":"linear","ctVal":"","ctMult":"1","state":"live"}]}'
    )
    assert OKEX.instruments(body).instruments[0].contract_size is None


def test_an_announced_close_asks_for_another_connection() -> None:
    frame = b'{"event":"notice","code":"64008","msg":"Please reconnect.","connId":"a"}'
    assert OKEX.parse(frame) == (Leaving("Please reconnect."),)
    assert not OKEX.parse(frame.replace(b"64008", b"1"))
