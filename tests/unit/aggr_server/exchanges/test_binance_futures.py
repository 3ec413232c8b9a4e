from __future__ import annotations

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Liquidation, Trade, Window

COIN_M = (
    b'{"stream":"bchusd_perp@aggTrade","data":{"e":"aggTrade","E":1626916404006,"a":11285749,'
    b'"s":"BCHUSD_PERP","p":"427.91","q":"3","f":16034449,"l":16034449,"T":1626916403852,"m":true}}'
)
FORCED = (
    b'{"e":"forceOrder","E":1698871323061,"o":{"s":"BTCUSDT","S":"BUY","o":"LIMIT","f":"IOC",'
    b'"q":"1.437","p":"35100.81","ap":"34959.70","X":"FILLED","l":"1.437","z":"1.4",'
    b'"T":1698871323059}}'
)
FUTURES = exchanges.get("BINANCE_FUTURES")


def test_a_trade_of_an_inverse_contract() -> None:
    assert FUTURES.parse(COIN_M) == (
        Trade("BCHUSD_PERP", 1626916403852, 427.91, 3.0, False, 11285749, 11285749),
    )


@pytest.mark.parametrize("frame", [FORCED, b'{"stream":"b@forceOrder","data":' + FORCED + b"}"])
def test_a_forced_order_counts_what_was_filled_at_the_average_price(frame: bytes) -> None:
    assert FUTURES.parse(frame) == (Liquidation("BTCUSDT", 1698871323059, 34959.70, 1.4, True),)


def test_trades_and_forced_orders_use_the_path_that_carries_them() -> None:
    streams = FUTURES.streams("usdm", FUTURES.assume("BTCUSDT"))
    (message,) = FUTURES.subscriptions("usdm", streams)
    assert msgspec.json.decode(message.text)["params"] == ["btcusdt@aggTrade", "btcusdt@forceOrder"]
    assert FUTURES.channels["usdm"].url == "wss://fstream.binance.com/market/ws"
    assert FUTURES.channels["usdm"].max_streams <= 200


def test_instruments_of_both_families() -> None:
    body = (
        b'{"symbols":[{"symbol":"1000PEPEUSDT","status":"TRADING","baseAsset":"1000PEPE",'
        b'"quoteAsset":"USDT","contractType":"PERPETUAL"},'
        b'{"symbol":"BTCUSD_261225","contractStatus":"TRADING","baseAsset":"BTC",'
        b'"quoteAsset":"USD","contractType":"CURRENT_QUARTER","contractSize":100}]}'
    )
    pepe, dated = FUTURES.instruments(body).instruments
    assert (pepe.symbol, pepe.base, pepe.kind, pepe.inverse) == (
        "1000pepeusdt",
        "PEPE",
        "perp",
        False,
    )
    assert (dated.kind, dated.inverse, dated.contract_size) == ("future", True, 100.0)


@pytest.mark.parametrize(
    ("wire", "kind", "inverse", "size"),
    [
        ("BTCUSDT", "perp", False, 1.0),
        ("ETHUSDT_261225", "future", False, 1.0),
        ("BTCUSD_PERP", "perp", True, 100.0),
        ("BCHUSD_PERP", "perp", True, 10.0),
        ("ETHUSD_210924", "future", True, 10.0),
    ],
)
def test_contracts_known_by_rule(wire: str, kind: str, inverse: bool, size: float) -> None:
    found = FUTURES.assume(wire)
    assert (found.symbol, found.kind, found.inverse, found.contract_size) == (
        wire.lower(),
        kind,
        inverse,
        size,
    )


def test_each_family_has_its_socket_its_streams_and_its_past() -> None:
    perpetual = FUTURES.assume("BTCUSD_PERP")
    assert perpetual.channel == "coinm"
    (message,) = FUTURES.subscriptions("coinm", FUTURES.streams("coinm", perpetual))
    assert msgspec.json.decode(message.text)["params"] == [
        "btcusd_perp@aggTrade",
        "btcusd_perp@forceOrder",
    ]
    assert FUTURES.channels["coinm"].url == "wss://dstream.binance.com/ws"
    for wire, host in (("BTCUSD_PERP", "dapi"), ("BTCUSDT", "fapi")):
        request = FUTURES.past(FUTURES.assume(wire), Window(0, 1000))
        assert request is not None
        assert request.url.startswith(f"https://{host}.binance.com/{host}/v1/aggTrades?")


def test_a_forced_order_not_filled_yet_counts_as_ordered() -> None:
    frame = FORCED.replace(b'"z":"1.4"', b'"z":"0"').replace(b'"ap":"34959.70"', b'"ap":"0"')
    assert FUTURES.parse(frame) == (Liquidation("BTCUSDT", 1698871323059, 35100.81, 1.437, True),)
