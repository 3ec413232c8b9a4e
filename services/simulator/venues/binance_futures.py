"""Binance USD-M futures.

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web

from services.simulator.instruments import Instrument, Trade, fixed
from services.simulator.venues.base import BadRequest, encode, rest, whole
from services.simulator.venues.binance import BinanceDialect, filters

INSTRUMENTS = (
    Instrument(
        "BINANCE_FUTURES:btcusdt", "BTC", "USDT", "perp", "BTCUSDT", 1, 3, 0.50, 20.0,
        oi_share=0.45,
    ),
    Instrument(
        "BINANCE_FUTURES:ethusdt", "ETH", "USDT", "perp", "ETHUSDT", 2, 3, 0.50, 18.0,
        oi_share=0.45,
    ),
)  # fmt: skip

_ALL_LIQUIDATIONS = "!forceOrder@arr"
_FUNDING_INTERVAL_MS = 8 * 3_600_000
_FUNDING_RATE = "0.00010000"
_OPEN_INTEREST_STEP_MS = 300_000
_NO_DELIVERY_MS = 4_133_404_800_000


class BinanceFutures(BinanceDialect):
    """USD-M perpetuals. The old paths `/ws` and `/stream` still accept everyone and say nothing."""

    name = "BINANCE_FUTURES"
    instruments = INSTRUMENTS
    gapless = True
    ping_interval_s = 180.0
    streams: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "/market/": ("aggTrade", "forceOrder", _ALL_LIQUIDATIONS),
        "/public/": ("trade",),
    }

    def routes(self) -> list[web.RouteDef]:
        host = "/fstream.binance.com"
        found = []
        for part in ("", "/market", "/public"):
            found += [
                web.get(f"{host}{part}/ws", self.socket),
                web.get(f"{host}{part}/ws/{{names:.+}}", self.socket),
                web.get(f"{host}{part}/stream", self.socket),
            ]
        root = "/fapi.binance.com/fapi/v1"
        return [
            *found,
            rest(f"{root}/ping", lambda _: {}),
            rest(f"{root}/time", lambda _: {"serverTime": self.market.clock()}),
            rest(f"{root}/exchangeInfo", self._exchange_info),
            rest(f"{root}/aggTrades", self.aggregate_trades),
            rest(f"{root}/klines", self.klines),
            rest(f"{root}/markPriceKlines", self._mark_price_klines),
            rest(f"{root}/depth", self.order_book),
            rest(f"{root}/ticker/24hr", self.day_ticker),
            rest(f"{root}/ticker/bookTicker", self.book_ticker),
            rest(f"{root}/ticker/price", self.price_ticker),
            rest(f"{root}/fundingRate", self._funding_rates),
            rest(f"{root}/premiumIndex", self._premium_index),
            rest(f"{root}/openInterest", self._open_interest),
            rest("/fapi.binance.com/futures/data/openInterestHist", self._open_interest_history),
            rest("/dapi.binance.com/dapi/v1/exchangeInfo", lambda _: {"symbols": []}),
        ]

    def publish_liquidations(self, trades: Sequence[Trade]) -> None:
        for trade in trades:
            frame = encode(_forced_order(trade, self.market.clock()))
            for channel in (
                self._stream(trade.instrument, "forceOrder"),
                self._prefix() + _ALL_LIQUIDATIONS,
            ):
                self.hub.publish(channel, [frame])

    def _exchange_info(self, _: Mapping[str, str]) -> dict[str, Any]:
        return {
            "timezone": "UTC",
            "serverTime": self.market.clock(),
            "rateLimits": [],
            "exchangeFilters": [],
            "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
            "symbols": [
                {
                    "symbol": i.native,
                    "pair": i.native,
                    "contractType": "PERPETUAL",
                    "deliveryDate": _NO_DELIVERY_MS,
                    "onboardDate": 1_569_398_400_000,
                    "status": "TRADING",
                    "baseAsset": i.base,
                    "quoteAsset": i.quote,
                    "marginAsset": i.quote,
                    "pricePrecision": i.price_decimals,
                    "quantityPrecision": i.size_decimals,
                    "baseAssetPrecision": 8,
                    "quotePrecision": 8,
                    "underlyingType": "COIN",
                    "filters": filters(i, "MIN_NOTIONAL", "notional", "5"),
                    "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT"],
                    "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
                }
                for i in self.instruments
            ],
        }

    def _mark_price_klines(self, parameters: Mapping[str, str]) -> list[list[Any]]:
        return [[*row[:5], "0", row[6], "0", row[8], "0", "0", "0"]
                for row in self.klines(parameters)]  # fmt: skip

    def _funding_rates(self, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        instrument = self.instrument(parameters)
        now = self.market.clock()
        limit = min(1000, whole(parameters, "limit", 100))
        end = min(now, whole(parameters, "endTime", now))
        earliest = end - limit * _FUNDING_INTERVAL_MS
        start = max(earliest, whole(parameters, "startTime", earliest))
        first = -(-start // _FUNDING_INTERVAL_MS) * _FUNDING_INTERVAL_MS
        price = self.price(instrument)
        return [
            {"symbol": instrument.native, "fundingTime": at, "fundingRate": _FUNDING_RATE,
             "markPrice": price}
            for at in range(first, end + 1, _FUNDING_INTERVAL_MS)
        ][:limit]  # fmt: skip

    def _premium_index(self, parameters: Mapping[str, str]) -> Any:
        return self._one_or_all(parameters, self._premium)

    def _premium(self, instrument: Instrument) -> dict[str, Any]:
        now, price = self.market.clock(), self.price(instrument)
        return {
            "symbol": instrument.native, "markPrice": price, "indexPrice": price,
            "estimatedSettlePrice": price, "lastFundingRate": _FUNDING_RATE,
            "interestRate": _FUNDING_RATE, "time": now,
            "nextFundingTime": (now // _FUNDING_INTERVAL_MS + 1) * _FUNDING_INTERVAL_MS,
        }  # fmt: skip

    def _open_interest(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        instrument = self.instrument(parameters)
        return {
            "symbol": instrument.native,
            "openInterest": f"{self.market.open_interest(instrument):.3f}",
            "time": self.market.clock(),
        }

    def _open_interest_history(self, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        instrument = self.instrument(parameters)
        if parameters.get("period") != "5m":
            raise BadRequest(400, {"code": -1130, "msg": "parameter 'period' is invalid."})
        limit = min(500, whole(parameters, "limit", 30), 24 * 12)
        last = self.market.clock() // _OPEN_INTEREST_STEP_MS * _OPEN_INTEREST_STEP_MS
        price = self.market.last_price(instrument)
        found = []
        for at in range(last - (limit - 1) * _OPEN_INTEREST_STEP_MS, last + 1,
                        _OPEN_INTEREST_STEP_MS):  # fmt: skip
            coins = self.market.open_interest(instrument, at // 1000)
            found.append({
                "symbol": instrument.native, "sumOpenInterest": f"{coins:.3f}",
                "sumOpenInterestValue": f"{coins * price:.2f}", "timestamp": at,
            })  # fmt: skip
        return found


def _forced_order(trade: Trade, event_ms: int) -> dict[str, Any]:
    # The limit of the forced order lies beyond the price it was filled at.
    reach = trade.ticks // 200
    limit = fixed(trade.ticks + (reach if trade.buy else -reach), trade.instrument.price_decimals)
    return {
        "e": "forceOrder",
        "E": event_ms,
        "o": {
            "s": trade.instrument.native, "S": "BUY" if trade.buy else "SELL", "o": "LIMIT",
            "f": "IOC", "q": trade.size, "p": limit, "ap": trade.price, "X": "FILLED",
            "l": trade.size, "z": trade.size, "T": trade.ts_ms,
        },
    }  # fmt: skip
