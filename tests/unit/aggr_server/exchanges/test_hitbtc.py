from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Window

HITBTC = exchanges.get("HITBTC")


def test_symbols_are_sent_in_batches_without_old_trades() -> None:
    streams = [s for n in range(70)
               for s in HITBTC.streams("public", HITBTC.assume(f"C{n}USDT"))]  # fmt: skip
    sent = [msgspec.json.decode(m.text) for m in HITBTC.subscriptions("public", streams)]
    assert [(m["id"], len(m["params"]["symbols"]), m["params"]["limit"]) for m in sent] == [
        (1, 50, 0),
        (2, 20, 0),
    ]


@pytest.mark.parametrize(("count", "to_ms", "goes_on"), [(1000, 9_000, True), (999, 9_000, False),
                                                         (1000, 5_000, False)])  # fmt: skip
def test_a_full_page_goes_on_by_id_until_the_window_ends(
    count: int, to_ms: int, goes_on: bool
) -> None:
    rows = [
        {"id": 70 + n, "price": "2", "qty": "1", "side": "buy", "timestamp":
         "1970-01-01T00:00:05.000Z"}
        for n in range(count)
    ]  # fmt: skip
    market, window = HITBTC.assume("BTCUSDT"), Window(4_000, to_ms)
    past = HITBTC.read_past(market, window, msgspec.json.encode(rows))
    url = "https://api.hitbtc.com/api/3/public/trades/BTCUSDT?by=id&from=1070&sort=ASC&limit=1000"
    assert (past.next and past.next.url) == (url if goes_on else None)


@pytest.mark.parametrize(
    ("wire", "base", "quote", "kind"),
    [("BTCUSDT", "BTC", "USDT", "spot"), ("ETHUSDT_PERP", "ETH", "USDT", "perp")],
)
def test_markets_known_by_rule(wire: str, base: str, quote: str, kind: str) -> None:
    found = HITBTC.assume(wire)
    assert (found.base, found.quote, found.kind) == (base, quote, kind)
