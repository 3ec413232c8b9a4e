from __future__ import annotations

import msgspec
import pytest

from aggr_server import clock, exchanges
from aggr_server.exchanges.base import Leaving, Window
from aggr_server.markets import sizes

BITSTAMP = exchanges.get("BITSTAMP")
NOW_MS = 1_741_343_709_599


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_ms", lambda: NOW_MS)


def test_each_market_is_subscribed_by_itself() -> None:
    streams = [s for w in ("btcusd", "ethusd-perp")
               for s in BITSTAMP.streams("public", BITSTAMP.assume(w))]  # fmt: skip
    messages = [msgspec.json.decode(m.text) for m in BITSTAMP.subscriptions("public", streams)]
    assert messages == [
        {"event": "bts:subscribe", "data": {"channel": "live_trades_btcusd"}},
        {"event": "bts:subscribe", "data": {"channel": "live_trades_ethusd-perp"}},
    ]


def test_a_request_to_reconnect_is_an_announced_end() -> None:
    (event,) = BITSTAMP.parse(b'{"event":"bts:request_reconnect","channel":"","data":""}')
    assert isinstance(event, Leaving)


def test_perpetuals_multiply_by_their_contract_size() -> None:
    body = (
        b'[{"market_symbol":"btcusd-perp","base_currency":"BTC","counter_currency":"USD",'
        b'"trading":"Enabled","market_type":"PERPETUAL","payoff_type":"Linear",'
        b'"contract_size":"0.10000000"}]'
    )
    (found,) = BITSTAMP.instruments(body).instruments
    assert (found.kind, found.inverse) == ("perp", False)
    assert sizes(found, 50_000.0, 3.0) == pytest.approx((0.3, 15_000.0))


@pytest.mark.parametrize(
    ("age_ms", "span"), [(20_000, "minute"), (60_000, "hour"), (4_000_000, "day")]
)
def test_the_shortest_span_that_reaches_back_is_asked_for(age_ms: int, span: str) -> None:
    window = Window(NOW_MS - age_ms, NOW_MS)
    request = BITSTAMP.past(BITSTAMP.assume("btcusd"), window)
    assert request is not None
    assert request.url == f"https://www.bitstamp.net/api/v2/transactions/btcusd/?time={span}"
    assert BITSTAMP.read_past(BITSTAMP.assume("btcusd"), window, b"[]").since_ms == 0


def test_nothing_older_than_a_day_is_told() -> None:
    window = Window(NOW_MS - 90_000_000, NOW_MS)
    past = BITSTAMP.read_past(BITSTAMP.assume("btcusd"), window, b"[]")
    assert NOW_MS - 86_400_000 <= past.since_ms <= NOW_MS - 86_400_000 + 60_000
