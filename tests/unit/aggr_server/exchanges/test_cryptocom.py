from __future__ import annotations

import msgspec
import pytest

from aggr_server import clock, exchanges
from aggr_server.exchanges.base import Past, Rejection, Reply, Request, Trade, Window

CRYPTOCOM = exchanges.get("CRYPTOCOM")
FROM_MS = 1_686_944_282_000
WINDOW = Window(FROM_MS, FROM_MS + 1000)


def test_heartbeats_are_answered_with_their_own_id() -> None:
    frame = b'{"id":1587523073344,"method":"public/heartbeat","code":0}'
    assert CRYPTOCOM.parse(frame) == (
        Reply('{"id":1587523073344,"method":"public/respond-heartbeat"}'),
    )


def test_subscriptions_wait_a_second_and_carry_the_time() -> None:
    assert CRYPTOCOM.channels["market"].settle_s == 1.0
    wires = [f"C{n}_USD" for n in range(60)]
    streams = [s for w in wires for s in CRYPTOCOM.streams("market", CRYPTOCOM.assume(w))]
    first, second = (
        msgspec.json.decode(m.text) for m in CRYPTOCOM.subscriptions("market", streams)
    )
    assert first["params"]["channels"][:2] == ["trade.C0_USD", "trade.C1_USD"]
    assert [len(m["params"]["channels"]) for m in (first, second)] == [50, 10]
    assert abs(first["nonce"] - clock.now_ms()) < 60_000
    assert first["id"] != second["id"]


@pytest.mark.parametrize("side", ["buy", "BUY"])
def test_trades_come_newest_first_with_sides_in_either_case(side: str) -> None:
    rows = [{"d": str(n), "s": side, "p": "2", "q": "3", "t": 1000 + n, "i": "BTC_USD"}
            for n in (3, 2, 1)]  # fmt: skip
    frame = {"id": -1, "method": "subscribe", "result": {"channel": "trade", "data": rows}}
    assert CRYPTOCOM.parse(msgspec.json.encode(frame)) == [
        Trade("BTC_USD", 1000 + n, 2.0, 3.0, True, str(n)) for n in (1, 2, 3)
    ]


def test_an_unknown_side_is_an_unreadable_frame() -> None:
    row = {"d": "1", "s": "hold", "p": "2", "q": "3", "t": 1000, "i": "BTC_USD"}
    frame = msgspec.json.encode({"id": -1, "result": {"channel": "trade", "data": [row]}})
    with pytest.raises(msgspec.ValidationError, match="hold"):
        CRYPTOCOM.parse(frame)


def test_a_refusal_of_several_channels_names_none() -> None:
    text = 'invalid channel {"channels":["trade.A_USD","trade.B_USD"]}'
    frame = {"id": 1, "code": 10004, "method": "subscribe", "message": text}
    assert CRYPTOCOM.parse(msgspec.json.encode(frame)) == (Rejection(f"10004 {text}"),)


def _answer(request: Request, times: list[int]) -> bytes:
    """As documented: the newest 150 of [start_ts, end_ts), newest first."""
    named = dict(part.split("=") for part in request.url.partition("?")[2].split("&"))
    rows = [{"d": str(n), "s": "buy", "p": "1", "q": "1", "t": ms, "i": "BTC_USD"}
            for n, ms in enumerate(times)
            if int(named["start_ts"]) <= ms < int(named["end_ts"])]  # fmt: skip
    newest = rows[::-1][: int(named["count"])]
    return msgspec.json.encode({"code": 0, "result": {"data": newest}})


def test_the_window_is_covered_page_by_page() -> None:
    # Eleven trades in each millisecond: pages end in the middle of one.
    times = [FROM_MS - 20 + n // 11 for n in range(2000)]
    instrument = CRYPTOCOM.assume("BTC_USD")
    request = CRYPTOCOM.past(instrument, WINDOW)
    found: list[int] = []
    pages = 0
    while request is not None:
        past: Past = CRYPTOCOM.read_past(instrument, WINDOW, _answer(request, times))
        found += [int(t.id) for t in past.trades]
        request, pages = past.next, pages + 1
    wanted = {n for n, ms in enumerate(times) if WINDOW.from_ms <= ms < WINDOW.to_ms}
    assert set(found) == wanted
    assert pages < 20


def test_a_refusal_is_not_an_empty_past() -> None:
    with pytest.raises(msgspec.ValidationError, match="40004"):
        CRYPTOCOM.read_past(CRYPTOCOM.assume("X_USD"), WINDOW, b'{"code":40004,"message":"bad"}')
