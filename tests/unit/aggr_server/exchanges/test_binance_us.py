from __future__ import annotations

from aggr_server import exchanges
from aggr_server.exchanges.base import Trade, Window
from aggr_server.markets import sizes

VENUE = exchanges.get("BINANCE_US")
OMG = (
    b'{"stream":"omgbusd@aggTrade","data":{"e":"aggTrade","E":1633998288468,"s":"OMGBUSD",'
    b'"a":425085,"p":"13.80480000","q":"2.10000000","f":439577,"l":439577,"T":1633998288467,'
    b'"m":false,"M":true}}'
)


def test_a_trade_bears_the_time_of_the_trade_and_not_of_the_message() -> None:
    assert VENUE.parse(OMG) == (
        Trade("OMGBUSD", 1633998288467, 13.8048, 2.1, True, 425085, 425085),
    )


def test_markets_are_spot_at_the_hosts_of_the_venue() -> None:
    market = VENUE.assume("BTCUSD")
    assert (market.symbol, market.base, market.quote, market.kind) == (
        *("btcusd", "BTC", "USD"),
        "spot",
    )
    assert sizes(market, 65000.0, 0.5) == (0.5, 32500.0)
    assert [s.kind for s in VENUE.streams("spot", market)] == ["trades"]
    request = VENUE.past(market, Window(1000, 2000))
    assert request is not None
    urls = [request.url, VENUE.channels["spot"].url, *(r.url for r in VENUE.discovery)]
    assert all("binance.us" in url for url in urls)
