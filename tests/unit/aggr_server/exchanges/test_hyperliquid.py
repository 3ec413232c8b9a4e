from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Window

HYPERLIQUID = exchanges.get("HYPERLIQUID")


def test_the_lists_are_asked_for_by_post() -> None:
    assert [(r.method, msgspec.json.decode(r.body)["type"]) for r in HYPERLIQUID.discovery] == [
        ("POST", "meta"),
        ("POST", "spotMeta"),
    ]


def test_each_coin_is_a_message() -> None:
    streams = [s for w in ("BTC", "@107")
               for s in HYPERLIQUID.streams("public", HYPERLIQUID.assume(w))]  # fmt: skip
    messages = HYPERLIQUID.subscriptions("public", streams)
    coins = [msgspec.json.decode(m.text)["subscription"]["coin"] for m in messages]
    assert coins == ["BTC", "@107"]
    assert HYPERLIQUID.ping("public", 0) == '{"method":"ping"}'


@pytest.mark.parametrize(
    ("wire", "base", "kind"),
    [
        ("BTC", "BTC", "perp"),
        ("kPEPE", "PEPE", "perp"),
        ("KAS", "KAS", "perp"),
        ("xyz:NVDA", "NVDA", "perp"),
        ("PURR/USDC", "PURR", "spot"),
        ("@107", "@107", "spot"),
    ],
)
def test_markets_known_by_rule(wire: str, base: str, kind: str) -> None:
    found = HYPERLIQUID.assume(wire)
    assert (found.base, found.kind) == (base, kind)


def test_without_a_trade_nothing_of_the_past_is_known() -> None:
    past = HYPERLIQUID.read_past(HYPERLIQUID.assume("BTC"), Window(1000, 2000), b"[]")
    assert (past.trades, past.since_ms) == ([], 2000)
