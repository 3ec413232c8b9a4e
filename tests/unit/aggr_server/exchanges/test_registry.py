from __future__ import annotations

import pytest

from aggr_server import exchanges


def test_every_venue_is_found_by_its_folder() -> None:
    assert list(exchanges.known()) == [
        *("ASTER", "BINANCE", "BINANCE_FUTURES", "BINANCE_US", "BITFINEX", "BITGET", "BITSTAMP"),
        *("BITUNIX", "BYBIT", "COINBASE", "CRYPTOCOM", "DERIBIT", "DYDX", "GATEIO", "GEMINI"),
        *("HITBTC", "HUOBI", "HYPERLIQUID", "KRAKEN", "KUCOIN", "MEXC", "OKEX", "PHEMEX"),
        "POLONIEX",
    ]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("OKX", "OKEX"),
        ("okex", "OKEX"),
        ("BINANCE_DELIVERY", "BINANCE_FUTURES"),
        ("gate", "GATEIO"),
        ("HTX", "HUOBI"),
    ],
)
def test_a_venue_answers_to_its_aliases_in_any_case(asked: str, name: str) -> None:
    assert exchanges.get(asked).name == name


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(exchanges.UnknownExchange, match="'NOPE' is not known; known: ASTER, "):
        exchanges.get("NOPE")


@pytest.mark.parametrize(("name", "day"), [("FTX", "2022-11-11"), ("BITMEX", "2026-09-23")])
def test_a_closed_exchange_tells_when_it_closed(name: str, day: str) -> None:
    with pytest.raises(exchanges.UnknownExchange, match=f"{name} closed on {day}"):
        exchanges.get(name)
