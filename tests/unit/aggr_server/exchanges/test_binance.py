from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Ack, Instrument, Leaving, Rejection, Trade, Window

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
        b"[]",
        b"",
    ],
)
def test_everything_else_is_ignored(frame: bytes) -> None:
    assert not BINANCE.parse(frame)


def test_an_announced_shutdown_asks_for_another_connection() -> None:
    assert BINANCE.parse(b'{"e":"serverShutdown","E":1770123456789}') == (
        Leaving("serverShutdown"),
    )


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


def _row(number: int, ts_ms: int) -> dict[str, object]:
    return {"a": number, "p": "1.5", "q": "2", "f": number, "l": number, "T": ts_ms, "m": True}


def test_the_past_is_asked_by_time_and_then_by_number() -> None:
    market = BINANCE.assume("BTCUSDT")
    window = Window(1_700_000_000_000, 1_700_000_060_000)
    first = BINANCE.past(market, window)
    assert first is not None
    assert first.url.endswith(
        "?symbol=BTCUSDT&startTime=1700000000000&endTime=1700000059999&limit=1000"
    )
    full = [_row(500 + n, 1_700_000_000_000 + n) for n in range(1000)]
    page = BINANCE.read_past(market, window, msgspec.json.encode(full))
    assert page.next is not None
    assert page.next.url.endswith("/api/v3/aggTrades?symbol=BTCUSDT&fromId=1500&limit=1000")
    assert page.trades[0] == Trade("BTCUSDT", 1_700_000_000_000, 1.5, 2.0, False, 500, 500)
    assert len(page.trades) == 1000
    assert page.since_ms == 0


@pytest.mark.parametrize("last_ms", [1_700_000_060_000, 1_700_000_070_000])
def test_a_full_page_that_reaches_beyond_the_window_is_the_last(last_ms: int) -> None:
    window = Window(1_700_000_000_000, 1_700_000_060_000)
    rows = [_row(n, 1_700_000_000_000) for n in range(999)] + [_row(999, last_ms)]
    past = BINANCE.read_past(BINANCE.assume("BTCUSDT"), window, msgspec.json.encode(rows))
    assert past.next is None
    rows[-1]["T"] = 1_700_000_059_999
    past = BINANCE.read_past(BINANCE.assume("BTCUSDT"), window, msgspec.json.encode(rows))
    assert past.next is not None


def test_the_venue_refuses_both_ends_of_more_than_an_hour() -> None:
    request = BINANCE.past(BINANCE.assume("BTCUSDT"), Window(0, 3_600_001))
    assert request is not None
    assert "endTime" not in request.url


def test_an_error_instead_of_the_past_is_not_an_empty_past() -> None:
    body = b'{"code":-1121,"msg":"Invalid symbol."}'
    with pytest.raises(msgspec.ValidationError):
        BINANCE.read_past(BINANCE.assume("BTCUSDT"), Window(0, 1000), body)
