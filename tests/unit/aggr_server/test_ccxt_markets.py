from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from aggr_server import ccxt_markets
from aggr_server.discovery import chosen_adapters
from aggr_server.exchanges.base import Ack, Instrument, Rejection, Trade, Window
from aggr_server.markets import sizes
from aggr_server.settings import CollectorSettings

KRAKEN = ccxt_markets.adapter("kraken")


def _market(**fields: object) -> Instrument:
    row = {"base": "BTC", "quote": "USDT", "active": True, "contract": False, **fields}
    (found,) = KRAKEN.instruments(msgspec.json.encode([row])).instruments
    return found


def test_a_market_is_named_by_exchange_and_unified_symbol() -> None:
    assert ccxt_markets.split("CCXT:kraken:BTC/USD") == ("CCXT:kraken", "BTC/USD")
    assert ccxt_markets.split("ccxt:MEXC:BTC/USDT:USDT") == ("CCXT:mexc", "BTC/USDT:USDT")
    assert ccxt_markets.split("BYBIT:BTCUSDT") == ("BYBIT", "BTCUSDT")
    market = KRAKEN.market(_market(symbol="BTC/USDT", type="spot"))
    assert market == "CCXT:kraken:BTC/USDT"


@pytest.mark.parametrize("name", ["krakn", "", "os"])
def test_an_exchange_the_library_does_not_know(name: str) -> None:
    with pytest.raises(ValueError, match=f"no exchange '{name}'"):
        ccxt_markets.adapter(name)


def test_the_settings_name_them_among_others() -> None:
    markets = ("CCXT:kraken:BTC/USD", "BYBIT:BTCUSDT", "ccxt:Kraken:ETH/USD")
    chosen = chosen_adapters(CollectorSettings(aggr_markets=markets))
    assert [adapter.name for adapter in chosen] == ["BYBIT", "CCXT:kraken"]
    with pytest.raises(ValueError, match="AGGR_MARKETS: ccxt has no exchange 'nope'"):
        chosen_adapters(CollectorSettings(aggr_markets=("CCXT:nope:BTC/USD",)))
    with pytest.raises(ValueError, match="is no market"):
        chosen_adapters(CollectorSettings(aggr_markets=("CCXT:kraken",)))


def test_the_library_is_not_loaded_unless_it_is_asked_for() -> None:
    code = (
        "import sys; from aggr_server import serve, settings, discovery;"
        "discovery.chosen_adapters(settings.CollectorSettings()); sys.exit('ccxt' in sys.modules)"
    )
    package = Path(ccxt_markets.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=package, check=False).returncode == 0


def test_units_come_from_the_library() -> None:
    spot = _market(symbol="BTC/USDT", type="spot")
    assert sizes(spot, 50_000.0, 0.5) == (0.5, 25_000.0)
    linear = _market(
        symbol="BTC/USDT:USDT", type="swap", contract=True, inverse=False, contractSize=0.001
    )
    assert linear.kind == "perp"
    assert sizes(linear, 50_000.0, 10.0) == (0.01, 500.0)
    inverse = _market(
        symbol="BTC/USD:BTC",
        quote="USD",
        type="swap",
        contract=True,
        inverse=True,
        contractSize=100,
    )
    assert sizes(inverse, 50_000.0, 10.0) == (0.02, 1000.0)
    unknown = _market(symbol="X/USDT:USDT", type="future", contract=True, contractSize=None)
    assert (unknown.kind, unknown.contract_size) == ("future", None)


def test_options_and_markets_at_rest_are_left_out() -> None:
    rows = [
        {"symbol": "A", "base": "BTC", "quote": "USD", "type": "option"},
        {"symbol": "B", "base": "BTC", "quote": "USD", "type": "spot", "active": False},
    ]
    assert KRAKEN.instruments(msgspec.json.encode(rows)).instruments == []


def test_messages_of_the_link() -> None:
    frame = (
        b'{"symbol":"BTC/USD","trades":[{"timestamp":1002,"price":65000.1,"amount":0.5,'
        b'"side":"sell","id":"43"},{"timestamp":1001,"price":65000,"amount":1,"side":"buy",'
        b'"id":null}]}'
    )
    assert KRAKEN.parse(frame) == [
        Trade("BTC/USD", 1001, 65000.0, 1.0, True, ""),
        Trade("BTC/USD", 1002, 65000.1, 0.5, False, "43"),
    ]
    assert KRAKEN.parse(b'{"symbol":"BTC/USD","watched":true}') == (Ack(),)
    refusal = b'{"symbol":"X/USD","refused":"BadSymbol: no"}'
    assert KRAKEN.parse(refusal) == (Rejection("BadSymbol: no", "X/USD", "trades"),)
    with pytest.raises(msgspec.ValidationError):
        KRAKEN.parse(frame.replace(b'"sell"', b"null"))


def test_every_symbol_of_a_subscription_is_confirmed() -> None:
    market = _market(symbol="BTC/USDT", type="spot")
    (message,) = KRAKEN.subscriptions("trades", KRAKEN.streams("trades", market) * 3)
    assert message.acks == 3
    assert msgspec.json.decode(message.text) == ["BTC/USDT"] * 3


def _told(since: int, *times: int) -> bytes:
    rows = [
        {"timestamp": t, "price": 1.0, "amount": 1.0, "side": "buy", "id": str(t)} for t in times
    ]
    return msgspec.json.encode({"since": since, "trades": rows})


def test_a_list_that_goes_back_beyond_the_window_is_whole() -> None:
    market, window = _market(symbol="BTC/USDT", type="spot"), Window(100_000, 200_000)
    first = KRAKEN.past(market, window)
    assert first is not None
    assert first.url == "ccxt:trades?symbol=BTC%2FUSDT&since=90000"
    page = KRAKEN.read_past(market, window, _told(90_000, 95_000, 150_000))
    assert page.since_ms == 0
    assert page.next is not None
    assert page.next.url.endswith("&since=150000")
    page = KRAKEN.read_past(market, window, _told(150_000, 150_000, 200_000))
    assert (page.since_ms, page.next) == (0, None)


@pytest.mark.parametrize(("since", "oldest"), [(90_000, 100_000), (150_000, 150_001)])
def test_a_list_that_begins_later_has_left_something_out(since: int, oldest: int) -> None:
    market, window = _market(symbol="BTC/USDT", type="spot"), Window(100_000, 200_000)
    past = KRAKEN.read_past(market, window, _told(since, oldest, 250_000))
    assert past.since_ms == oldest + 1
    assert past.next is None


def test_the_search_ends_where_nothing_is_newer() -> None:
    market, window = _market(symbol="BTC/USDT", type="spot"), Window(100_000, 200_000)
    assert KRAKEN.read_past(market, window, _told(150_000, 150_000)).next is None
    assert KRAKEN.read_past(market, window, _told(90_000)).next is None
