from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Trade, Window

BITFINEX = exchanges.get("BITFINEX")
CONFIRMED = b'{"event":"subscribed","channel":"trades","chanId":7,"symbol":"tBTCUSD"}'
EXECUTED = b'[7,"te",[1,1574694478808,-0.5,7245.3]]'


def test_each_connection_has_numbers_of_its_own() -> None:
    one, other = BITFINEX.session(), BITFINEX.session()
    one(CONFIRMED)
    assert one(EXECUTED) == (Trade("tBTCUSD", 1574694478808, 7245.3, 0.5, False, 1, 1),)
    with pytest.raises(msgspec.ValidationError, match="channel 7 was never confirmed"):
        other(EXECUTED)


def test_forced_orders_of_all_markets_are_one_subscription() -> None:
    perps = [BITFINEX.assume(w) for w in ("tBTCF0:USTF0", "tETHF0:USTF0", "tBTCUSD")]
    forced = [s for i in perps for s in BITFINEX.streams("status", i)]
    assert [s.instrument.symbol for s in forced] == ["BTCF0:USTF0", "ETHF0:USTF0"]
    (message,) = BITFINEX.subscriptions("status", forced)
    assert msgspec.json.decode(message.text) == {
        "event": "subscribe", "channel": "status", "key": "liq:global"
    }  # fmt: skip
    trades = [s for i in perps for s in BITFINEX.streams("trades", i)]
    assert len(BITFINEX.subscriptions("trades", trades)) == 3
    assert BITFINEX.channels["trades"].max_streams == 25


@pytest.mark.parametrize(
    ("wire", "base", "quote", "kind"),
    [
        ("tBTCUSD", "BTC", "USD", "spot"),
        ("tDOGE:USD", "DOGE", "USD", "spot"),
        ("tETHUST", "ETH", "USDT", "spot"),
        ("tIOTUSD", "IOTA", "USD", "spot"),
        ("tBTCF0:USTF0", "BTC", "USDT", "perp"),
        ("tBTCEUR", "BTC", "EUR", "spot"),
    ],
)
def test_markets_known_by_rule(wire: str, base: str, quote: str, kind: str) -> None:
    found = BITFINEX.assume(wire)
    assert (found.base, found.quote, found.kind) == (base, quote, kind)
    assert found.wire == f"t{found.symbol}"


@pytest.mark.parametrize(("last_ms", "start_ms"), [(2000, 2000), (1000, 1001)])
def test_a_full_page_leads_to_the_next(last_ms: int, start_ms: int) -> None:
    rows = [[n, 1000, 0.1, 5.0] for n in range(9_999)] + [[9_999, last_ms, 0.1, 5.0]]
    market, window = BITFINEX.assume("tBTCUSD"), Window(1000, 5000)
    past = BITFINEX.read_past(market, window, msgspec.json.encode(rows))
    assert past.next is not None
    assert f"/tBTCUSD/hist?start={start_ms}&end=4999&limit=10000" in past.next.url
    assert BITFINEX.read_past(market, window, msgspec.json.encode(rows[1:])).next is None
    with pytest.raises(msgspec.ValidationError):
        BITFINEX.read_past(market, window, b'["error",10020,"symbol: invalid"]')
