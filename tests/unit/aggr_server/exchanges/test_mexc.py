from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges import mexc_spot
from aggr_server.exchanges.base import Past, Request, Trade, Window
from aggr_server.markets import sizes
from tests.unit.aggr_server.exchanges import fixture_files

MEXC = exchanges.get("MEXC")
SPOT = MEXC.assume("BTCUSDT")
FROM_MS = 1_641_380_483_000


def _protobuf() -> bytes:
    return next(f for f in fixture_files.of("MEXC").frames if not f.startswith(b"{"))


def test_every_cut_of_a_frame_is_refused_or_empty() -> None:
    frame = _protobuf()
    whole = len(MEXC.parse(frame))
    for end in range(len(frame)):
        try:
            assert len(MEXC.parse(frame[:end])) < whole
        except msgspec.MsgspecError:
            continue


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff" * 20,
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + b"x" * 10,
        b"\x0b",
        b"\xd2\x13\x01\x00",
        b"\x1a\x02\xff\xfe\xd2\x13\x00",
    ],
    ids=["endless number", "huge length", "unknown type", "deals of no symbol", "no UTF-8"],
)
def test_broken_protobuf_is_an_unreadable_frame(frame: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        MEXC.parse(frame)


def test_fields_of_other_kinds_are_passed_over() -> None:
    fixed = b"\x59" + b"\0" * 8 + b"\x5d" + b"\0" * 4
    assert MEXC.parse(fixed + _protobuf()) == MEXC.parse(_protobuf())


def test_trades_without_ids_are_told_apart_by_their_place() -> None:
    rows = [(5, 1.0, 2.0, True, ""), (5, 1.0, 2.0, True, ""), (5, 1.0, 2.0, False, "")]
    once, again = mexc_spot.numbered("X", rows), mexc_spot.numbered("X", rows)
    assert len({t.id for t in once}) == 3
    assert once == again


def test_each_market_is_subscribed_by_itself() -> None:
    (spot,) = MEXC.subscriptions("spot", MEXC.streams("spot", SPOT))
    assert msgspec.json.decode(spot.text)["params"] == [
        "spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT"
    ]
    contract = MEXC.assume("BTC_USDT")
    (deal,) = MEXC.subscriptions("futures", MEXC.streams("futures", contract))
    assert msgspec.json.decode(deal.text) == {
        "method": "sub.deal",
        "param": {"symbol": "BTC_USDT"},
        "gzip": False,
    }
    assert (MEXC.ping("spot", 0), MEXC.ping("futures", 0)) == (
        '{"method":"PING"}',
        '{"method":"ping"}',
    )


def test_contracts_are_coins_or_dollars() -> None:
    rows = [{"symbol": f"BTC_{quote}", "baseCoin": "BTC", "quoteCoin": quote, "settleCoin": settle,
             "contractSize": size, "state": 0}
            for quote, settle, size in (("USDT", "USDT", 0.0001), ("USD", "BTC", 100))]  # fmt: skip
    body = msgspec.json.encode({"success": True, "code": 0, "data": rows})
    linear, inverse = MEXC.instruments(body).instruments
    assert sizes(linear, 50_000.0, 4.0) == pytest.approx((0.0004, 20.0))
    assert sizes(inverse, 50_000.0, 3.0) == (0.006, 300.0)


def _answer(request: Request, times: list[int]) -> bytes:
    """The newest thousand of [startTime, endTime], newest first, without ids."""
    named = dict(part.split("=") for part in request.url.partition("?")[2].split("&"))
    inside = [ms for ms in times if int(named["startTime"]) <= ms <= int(named["endTime"])]
    rows = [{"a": None, "p": "1", "q": "2", "T": ms, "m": False} for ms in inside]
    return msgspec.json.encode(rows[::-1][: int(named["limit"])])


def test_the_window_is_covered_page_by_page_and_each_trade_counts_once() -> None:
    # Seventeen equal trades in each millisecond: pages end in the middle of one.
    window = Window(FROM_MS, FROM_MS + 200)
    times = [FROM_MS - 20 + n // 17 for n in range(4000)]
    request = MEXC.past(SPOT, window)
    found: dict[int | str, Trade] = {}
    pages = 0
    while request is not None:
        past: Past = MEXC.read_past(SPOT, window, _answer(request, times))
        found |= {t.id: t for t in past.trades}
        request, pages = past.next, pages + 1
    inside = [t.ts_ms for t in found.values() if window.from_ms <= t.ts_ms < window.to_ms]
    assert Counter(inside) == Counter(ms for ms in times if FROM_MS <= ms < FROM_MS + 200)
    assert pages < 6


def test_no_more_than_an_hour_is_asked_for() -> None:
    window = Window(FROM_MS, FROM_MS + 5_000_000)
    request = MEXC.past(SPOT, window)
    assert request is not None
    assert f"startTime={window.to_ms - 3_600_000}&endTime={window.to_ms}" in request.url
    assert MEXC.read_past(SPOT, window, b"[]").since_ms == window.to_ms - 3_600_000
