"""The venues of the exactness test: every kind of protocol there is."""

TWELVE = (
    "BINANCE",
    "BINANCE_FUTURES",
    "BITFINEX",
    "BYBIT",
    "COINBASE",
    "CRYPTOCOM",
    "DERIBIT",
    "GATEIO",
    "HUOBI",
    "KRAKEN",
    "KUCOIN",
    "OKEX",
)
