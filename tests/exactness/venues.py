"""The venues of the exactness test: every kind of protocol there is."""

TWELVE = (
    "BINANCE",
    "BINANCE_FUTURES",
    "BYBIT",
    "OKEX",
    "COINBASE",
    "BINANCE_US",
    "HITBTC",
    "CRYPTOCOM",
    "BITSTAMP",
    "POLONIEX",
    "DERIBIT",
    "BITFINEX",
)
