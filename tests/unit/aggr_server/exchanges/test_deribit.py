from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Window

DERIBIT = exchanges.get("DERIBIT")


def _row(number: int, ts_ms: int) -> dict[str, object]:
    return {
        "trade_seq": number, "trade_id": str(number), "timestamp": ts_ms, "price": 1.5,
        "amount": 10.0, "instrument_name": "BTC-PERPETUAL", "direction": "buy",
    }  # fmt: skip


def test_heartbeats_are_asked_for_first_and_each_channel_once() -> None:
    wires = [f"C{n}-PERPETUAL" for n in range(120)]
    streams = [s for w in wires for s in DERIBIT.streams("public", DERIBIT.assume(w))]
    assert len(streams) == 240
    heartbeat, first, second = DERIBIT.subscriptions("public", streams)
    assert (msgspec.json.decode(heartbeat.text)["method"], heartbeat.acks) == (
        "public/set_heartbeat",
        0,
    )
    asked = [msgspec.json.decode(m.text) for m in (first, second)]
    assert [len(a["params"]["channels"]) for a in asked] == [100, 20] == [first.acks, second.acks]
    assert asked[0]["params"]["channels"][0] == "trades.C0-PERPETUAL.100ms"
    assert asked[1]["id"].split(",") == wires[100:]


@pytest.mark.parametrize(
    ("wire", "base", "quote", "kind", "inverse"),
    [
        ("BTC-PERPETUAL", "BTC", "USD", "perp", True),
        ("ETH-25DEC26", "ETH", "USD", "future", True),
        ("SOL_USDC-PERPETUAL", "SOL", "USDC", "perp", False),
        ("SOL_USDC-25DEC26", "SOL", "USDC", "future", False),
        ("ETH_USDT", "ETH", "USDT", "spot", False),
    ],
)
def test_markets_known_by_rule(wire: str, base: str, quote: str, kind: str, inverse: bool) -> None:
    found = DERIBIT.assume(wire)
    assert (found.base, found.quote, found.kind, found.inverse) == (base, quote, kind, inverse)


def test_a_page_within_one_millisecond_does_not_lead_to_itself() -> None:
    market = DERIBIT.assume("BTC-PERPETUAL")
    window = Window(1000, 3000)
    result = {"trades": [_row(1, 1500), _row(2, 1500)], "has_more": True}
    past = DERIBIT.read_past(market, window, msgspec.json.encode({"result": result}))
    assert past.next is not None
    assert "&start_timestamp=1501&end_timestamp=2999&" in past.next.url
    result = {"trades": [], "has_more": True}
    assert DERIBIT.read_past(market, window, msgspec.json.encode({"result": result})).next is None
