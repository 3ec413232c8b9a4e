from __future__ import annotations

import msgspec

from aggr_server import exchanges
from aggr_server.exchanges.base import Liquidation, Trade, Window
from aggr_server.markets import sizes

ASTER = exchanges.get("ASTER")
TRADE = (
    b'{"e":"aggTrade","E":1754551358681,"a":20505890,"s":"BTCUSDT","p":"114783.7","q":"0.020",'
    b'"f":26024678,"l":26024682,"T":1754551358528,"m":false}'
)
FORCED = (
    b'{"e":"forceOrder","E":1754551360003,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC",'
    b'"q":"0.5","p":"114000.0","ap":"114100.0","X":"FILLED","l":"0.5","z":"0.5",'
    b'"T":1754551360001}}'
)


def test_trades_and_forced_orders() -> None:
    assert ASTER.parse(TRADE) == (
        Trade("BTCUSDT", 1754551358528, 114783.7, 0.02, True, 20505890, 20505890),
    )
    assert ASTER.parse(FORCED) == (Liquidation("BTCUSDT", 1754551360001, 114100.0, 0.5, False),)


def test_symbols_are_upper_case_and_streams_lower_case() -> None:
    market = ASTER.assume("1000PEPEUSDT")
    assert (market.symbol, market.base, market.kind) == ("1000PEPEUSDT", "PEPE", "perp")
    (message,) = ASTER.subscriptions("perp", ASTER.streams("perp", market))
    assert msgspec.json.decode(message.text)["params"] == [
        "1000pepeusdt@aggTrade",
        "1000pepeusdt@forceOrder",
    ]
    assert sizes(ASTER.assume("BTCUSDT"), 100_000.0, 0.5) == (0.5, 50_000.0)


def test_the_past_is_asked_from_the_venue() -> None:
    request = ASTER.past(ASTER.assume("BTCUSDT"), Window(1000, 2000))
    assert request is not None
    assert request.url == (
        "https://fapi.asterdex.com/fapi/v3/aggTrades?symbol=BTCUSDT&startTime=1000&endTime=1999"
        "&limit=1000"
    )


def test_a_jump_in_numbers_proves_nothing_where_that_is_not_documented() -> None:
    assert not ASTER.gapless
