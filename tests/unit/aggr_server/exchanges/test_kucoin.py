from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Ack, Greeting, Rejection, Window
from aggr_server.markets import sizes

KUCOIN = exchanges.get("KUCOIN")


@pytest.mark.parametrize("channel", ["spot", "futures"])
def test_a_token_opens_the_socket(channel: str) -> None:
    entrance = KUCOIN.channels[channel].entrance
    assert entrance is not None
    assert entrance.method == "POST"
    assert entrance.url.endswith("/api/v1/bullet-public")
    assert KUCOIN.channels[channel].greets
    body = (
        b'{"code":"200000","data":{"token":"2neA/iu+Y=","instanceServers":[{"endpoint":'
        b'"wss://ws-api-spot.kucoin.com/","pingInterval":18000,"pingTimeout":10000}]}}'
    )
    assert KUCOIN.entered(channel, body) == (
        "wss://ws-api-spot.kucoin.com/?token=2neA%2Fiu%2BY%3D&connectId=public"
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"code":"429000","msg":"Too many requests"}',
        b'{"code":"200000","data":{"token":"x","instanceServers":[]}}',
        b"<html>",
    ],
)
def test_without_a_token_there_is_no_way_in(body: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        KUCOIN.entered("spot", body)


def test_welcome_answer_and_refusal() -> None:
    assert KUCOIN.parse(b'{"id":"a","type":"welcome"}') == (Greeting(),)
    assert KUCOIN.parse(b'{"id":"1","type":"ack"}') == (Ack(),)
    refusal = b'{"id":"1","type":"error","code":404,"data":"topic /market/match:A-B,C-D not found"}'
    assert KUCOIN.parse(refusal) == (Rejection("404 topic /market/match:A-B,C-D not found"),)


def test_a_hundred_symbols_in_each_message() -> None:
    streams = [s for n in range(120) for s in KUCOIN.streams("spot", KUCOIN.assume(f"C{n}-USDT"))]
    first, second = (msgspec.json.decode(m.text) for m in KUCOIN.subscriptions("spot", streams))
    assert first["topic"].startswith("/market/match:C0-USDT,C1-USDT")
    assert (first["topic"].count(",") + 1, second["topic"].count(",") + 1) == (100, 20)
    assert first["response"] is True
    assert first["id"] != second["id"]


def test_pings_come_before_the_venue_waits_for_them() -> None:
    assert msgspec.json.decode(KUCOIN.ping("spot", 7)) == {"id": "7", "type": "ping"}
    assert KUCOIN.ping_interval_s < 18.0


@pytest.mark.parametrize(
    ("wire", "base", "quote", "kind", "inverse"),
    [
        ("BTC-USDT", "BTC", "USDT", "spot", False),
        ("XBTUSDTM", "BTC", "USDT", "perp", False),
        ("XBTUSDM", "BTC", "USD", "perp", True),
        ("XBTMZ26", "BTC", "USD", "future", True),
    ],
)
def test_markets_known_by_rule(wire: str, base: str, quote: str, kind: str, inverse: bool) -> None:
    found = KUCOIN.assume(wire)
    assert (found.base, found.quote, found.kind, found.inverse) == (base, quote, kind, inverse)


def test_the_multiplier_is_coins_or_one_dollar() -> None:
    rows = [{"symbol": symbol, "baseCurrency": "XBT", "quoteCurrency": quote, "status": "Open",
             "multiplier": multiplier, "isInverse": inverse, "expireDate": None}
            for symbol, quote, multiplier, inverse in (
                ("XBTUSDTM", "USDT", 0.001, False), ("XBTUSDM", "USD", -1.0, True))]  # fmt: skip
    body = msgspec.json.encode({"code": "200000", "data": rows})
    linear, inverse = KUCOIN.instruments(body).instruments
    assert sizes(linear, 40_000.0, 5.0) == pytest.approx((0.005, 200.0))
    assert sizes(inverse, 40_000.0, 500.0) == (0.0125, 500.0)


def test_an_empty_answer_proves_nothing() -> None:
    past = KUCOIN.read_past(KUCOIN.assume("BTC-USDT"), Window(5, 9), b'{"code":"200000","data":[]}')
    assert (past.trades, past.since_ms) == ([], 9)
