from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Ack, Instrument, Rejection, Trade

AGG_TRADE = (
    b'{"e":"aggTrade","E":1633998523963,"s":"NKNUSDT","a":15683430,"p":"0.35280000",'
    b'"q":"58.00000000","f":19862790,"l":19862790,"T":1633998523960,"m":false,"M":true}'
)
TRADE = (
    b'{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100",'
    b'"T":1672515782130,"m":true,"M":true}'
)
BINANCE = exchanges.get("BINANCE")


@pytest.mark.parametrize("frame", [AGG_TRADE, b'{"stream":"x@aggTrade","data":' + AGG_TRADE + b"}"])
def test_an_aggregated_trade_bare_or_in_an_envelope(frame: bytes) -> None:
    assert BINANCE.parse(frame) == (
        Trade("NKNUSDT", 1633998523960, 0.3528, 58.0, True, 15683430, 15683430),
    )


@pytest.mark.parametrize("frame", [TRADE, b'{"stream":"x@trade","data":' + TRADE + b"}"])
def test_the_buyer_being_maker_means_that_the_taker_sold(frame: bytes) -> None:
    assert BINANCE.parse(frame) == (
        Trade("BNBBTC", 1672515782130, 0.001, 100.0, False, 12345, 12345),
    )


@pytest.mark.parametrize(
    ("kind", "kept"), [("MARKET", 1), ("RPI", 1), ("INSURANCE_FUND", 0), ("ADL", 0), ("NA", 0)]
)
def test_executions_that_are_no_trades_are_left_out(kind: str, kept: int) -> None:
    frame = TRADE.replace(b'"M":true', f'"X":"{kind}"'.encode())
    assert len(BINANCE.parse(frame)) == kept


@pytest.mark.parametrize(
    "frame",
    [
        b'{"stream":"nknusdt@bookTicker","data":{"u":1,"s":"NKNUSDT","b":"1","B":"2","a":"3"}}',
        b'{"e":"depthUpdate","E":1,"s":"NKNUSDT","U":1,"u":2,"b":[["1","2"]],"a":[]}',
        b'{"e":"serverShutdown","E":1}',
        b"[]",
        b"",
    ],
)
def test_everything_else_is_ignored(frame: bytes) -> None:
    assert not BINANCE.parse(frame)


def test_answers_to_a_subscription() -> None:
    assert BINANCE.parse(b'{"result":null,"id":1}') == (Ack(),)
    refusal = b'{"error":{"code":2,"msg":"Invalid request"},"id":1}'
    assert BINANCE.parse(refusal) == (Rejection("Invalid request"),)


def test_a_broken_trade_frame_is_an_error() -> None:
    with pytest.raises(msgspec.MsgspecError):
        BINANCE.parse(AGG_TRADE[:60])


def test_instruments_are_those_being_traded() -> None:
    body = (
        b'{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC",'
        b'"quoteAsset":"USDT"},{"symbol":"OLDUSDT","status":"BREAK","baseAsset":"OLD",'
        b'"quoteAsset":"USDT"}]}'
    )
    assert BINANCE.instruments(body).instruments == [
        Instrument(
            symbol="btcusdt", wire="BTCUSDT", base="BTC", quote="USDT", kind="spot", channel="spot"
        )
    ]


def test_subscriptions_go_out_in_batches() -> None:
    many = [s for n in range(150) for s in BINANCE.streams("spot", BINANCE.assume(f"C{n}USDT"))]
    first, second = BINANCE.subscriptions("spot", many)
    message = msgspec.json.decode(first.text)
    assert message["method"] == "SUBSCRIBE"
    assert message["params"][0] == "c0usdt@aggTrade"
    assert len(message["params"]) == 100
    assert len(msgspec.json.decode(second.text)["params"]) == 50
