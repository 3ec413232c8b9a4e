from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Window

BITUNIX = exchanges.get("BITUNIX")
FRAME = b'{"ch":"trade","symbol":"%b","data":[{"t":%b,"p":"5","v":"1","s":"buy"}]}'


def test_the_first_frame_of_each_market_is_history_on_each_connection() -> None:
    btc, eth = FRAME % (b"BTCUSDT", b"1000"), FRAME % (b"ETHUSDT", b"1000")
    for _ in range(2):
        parse = BITUNIX.session()
        assert [len(parse(f)) for f in (btc, btc, eth, btc, eth)] == [0, 1, 0, 1, 1]


def test_times_without_a_zone_and_unknown_sides_are_refused() -> None:
    for broken in (
        FRAME % (b"BTCUSDT", b'"2024-11-21T08:08:04"'),
        (FRAME % (b"BTCUSDT", b"1000")).replace(b"buy", b"long"),
    ):
        with pytest.raises(msgspec.ValidationError):
            BITUNIX.parse(broken)


def test_no_confirmation_is_waited_for() -> None:
    streams = [s for n in range(60)
               for s in BITUNIX.streams("public", BITUNIX.assume(f"C{n}USDT"))]  # fmt: skip
    messages = BITUNIX.subscriptions("public", streams)
    assert [(len(msgspec.json.decode(m.text)["args"]), m.acks) for m in messages] == [
        (50, 0),
        (10, 0),
    ]
    assert BITUNIX.ping("public", 17) == '{"op":"ping","ping":17}'


def test_the_past_is_not_told_and_an_error_is_no_list() -> None:
    assert BITUNIX.past(BITUNIX.assume("BTCUSDT"), Window(0, 1000)) is None
    with pytest.raises(msgspec.ValidationError, match="2: no"):
        BITUNIX.instruments(b'{"code":2,"msg":"no","data":null}')
