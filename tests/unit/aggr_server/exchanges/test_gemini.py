from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Ack, Window

GEMINI = exchanges.get("GEMINI")
WINDOW = Window(1_601_617_445_000, 1_601_617_446_000)


@pytest.mark.parametrize(
    ("wire", "symbol", "base", "quote", "kind"),
    [
        ("BTCUSD", "btcusd", "BTC", "USD", "spot"),
        ("btcgusd", "btcgusd", "BTC", "GUSD", "spot"),
        ("BTCGUSDPERP", "btcgusdperp", "BTC", "GUSD", "perp"),
        ("PERPUSD", "perpusd", "PERP", "USD", "spot"),
    ],
)
def test_markets_known_by_rule(wire: str, symbol: str, base: str, quote: str, kind: str) -> None:
    found = GEMINI.assume(wire)
    assert (found.symbol, found.base, found.quote, found.kind) == (symbol, base, quote, kind)
    assert found.wire == symbol.upper()


def test_the_first_book_of_each_symbol_confirms_it() -> None:
    streams = [s for n in range(30) for s in GEMINI.streams("public", GEMINI.assume(f"C{n}USD"))]
    first, second = GEMINI.subscriptions("public", streams)
    (wanted,) = msgspec.json.decode(first.text)["subscriptions"]
    assert wanted["name"] == "l2"
    assert (len(wanted["symbols"]), first.acks, second.acks) == (25, 25, 5)
    assert GEMINI.parse(b'{"type":"l2_updates","symbol":"C0USD","changes":[],"trades":[]}') == (
        Ack(),
    )


def test_a_book_is_not_even_decoded() -> None:
    assert not GEMINI.parse(b'{"type":"l2_updates","symbol":"BTCUSD","changes":[[' + b"," * 99)


def _answer(first: int, count: int, start_ms: int) -> bytes:
    rows = [{"timestampms": start_ms + n, "tid": first + n, "price": "1", "amount": "2",
             "type": "buy"} for n in range(count)]  # fmt: skip
    return msgspec.json.encode(rows[::-1])


def test_a_full_answer_leads_on_by_the_newest_id_in_it() -> None:
    instrument = GEMINI.assume("btcusd")
    past = GEMINI.read_past(instrument, WINDOW, _answer(100, 500, WINDOW.from_ms))
    assert past.next is not None
    assert past.next.url == (
        "https://api.gemini.com/v1/trades/btcusd?since_tid=599&limit_trades=500"
    )
    assert GEMINI.read_past(instrument, WINDOW, _answer(600, 499, WINDOW.from_ms)).next is None
    assert GEMINI.read_past(instrument, WINDOW, _answer(600, 500, WINDOW.to_ms)).next is None
    assert GEMINI.read_past(instrument, WINDOW, b"[]").next is None
