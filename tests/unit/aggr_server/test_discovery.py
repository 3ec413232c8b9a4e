from __future__ import annotations

from aggr_server import exchanges
from aggr_server.discovery import by_names, by_symbols
from aggr_server.exchanges.base import Instrument
from aggr_server.wire import Kind

BINANCE = exchanges.get("BINANCE")


def _instrument(symbol: str, base: str, quote: str, kind: Kind = "spot") -> Instrument:
    return Instrument(symbol=symbol, wire=symbol, base=base, quote=quote, kind=kind, channel="spot")


FOUND = [
    _instrument("btcusdt", "BTC", "USDT"),
    _instrument("btcfdusd", "BTC", "FDUSD"),
    _instrument("btceur", "BTC", "EUR"),
    _instrument("btcusdt_261225", "BTC", "USDT", "future"),
    _instrument("ethusdt", "ETH", "USDT", "perp"),
    _instrument("solusdt", "SOL", "USDT"),
]


def test_coins_against_any_dollar_spot_and_perpetual() -> None:
    chosen = by_symbols(FOUND, ["btc", "ETH"])
    assert [i.symbol for i in chosen] == ["btcusdt", "btcfdusd", "ethusdt"]


def test_markets_by_name_may_be_dated_but_not_in_other_currencies() -> None:
    names = ["BINANCE:btcusdt_261225", "BINANCE:btceur", "OKEX:btcusdt"]
    assert [i.symbol for i in by_names(BINANCE, FOUND, names)] == ["btcusdt_261225"]
