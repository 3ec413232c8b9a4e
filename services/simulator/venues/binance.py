"""Binance spot, and what its futures share with it.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from aiohttp import web

from services.simulator.candles import INTERVALS
from services.simulator.connections import Client
from services.simulator.instruments import Instrument, Trade
from services.simulator.venues.base import BadRequest, Venue, encode, rest, whole
from services.simulator.venues.book import depth

INSTRUMENTS = (
    Instrument("BINANCE:btcusdt", "BTC", "USDT", "spot", "BTCUSDT", 2, 5, 0.45, 14.0, -0.8),
    Instrument("BINANCE:ethusdt", "ETH", "USDT", "spot", "ETHUSDT", 2, 4, 0.45, 12.0, -0.8),
)


class _Message(msgspec.Struct):
    method: str
    id: int | str | None = None
    params: list[str] = []


class BinanceDialect(Venue):
    """Streams and REST that spot and USD-M futures have in common.

    `streams`: which streams are sent at all, by the socket path that carries them.
    """

    streams: ClassVar[Mapping[str, tuple[str, ...]]]
    serves_candles = True

    def channel(self, instrument: Instrument) -> str:
        return self._stream(instrument, "aggTrade")

    def greet(self, client: Client, request: web.Request) -> None:
        wrapped = request.path.endswith("/stream")
        named = request.query.get("streams", "") if wrapped else request.match_info.get("names", "")
        self._subscribe(client, request.path, [name for name in named.split("/") if name])

    def message(self, client: Client, path: str, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.ValidationError as error:
            client.send(encode({"error": {"code": 2, "msg": f"Invalid request: {error}"}}))
            return
        except msgspec.DecodeError as error:
            client.send(encode({"error": {"code": 3, "msg": f"Invalid JSON: {error}"}}))
            return
        result: Any = None
        if message.method == "SUBSCRIBE":
            # A stream that does not exist is acknowledged like any other, and never heard of.
            self._subscribe(client, path, message.params)
        elif message.method == "UNSUBSCRIBE":
            for name in message.params:
                self.hub.unsubscribe(client, self._prefix() + name)
        elif message.method == "LIST_SUBSCRIPTIONS":
            mine = self.hub.channels_of(client)
            result = [name.removeprefix(self._prefix()) for name in mine]
        else:
            reason = f"Invalid request: unknown variant `{message.method}`"
            client.send(encode({"error": {"code": 2, "msg": reason}, "id": message.id}))
            return
        client.send(encode({"result": result, "id": message.id}))

    def publish(self, trades: Sequence[Trade]) -> None:
        instrument = trades[0].instrument
        for kind in ("trade", "aggTrade"):
            channel = self._stream(instrument, kind)
            if self.hub.heard(channel):
                frame = single_trade if kind == "trade" else aggregate_trade
                event_ms = self.market.clock()
                frames = [encode(frame(trade, event_ms)) for trade in trades]
                self.hub.publish(channel, frames, _wrapped)

    def farewell(self, client: Client) -> str:
        return encode({"event": {"e": "serverShutdown", "E": self.market.clock()}})

    def aggregate_trades(self, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        """`/aggTrades`, paged by id or by time."""
        instrument = self.instrument(parameters)
        limit = min(1000, whole(parameters, "limit", 500))
        if "fromId" in parameters:
            if "startTime" in parameters or "endTime" in parameters:
                raise BadRequest(400, {"code": -1128, "msg": "Combination of optional parameters "
                                       "invalid."})  # fmt: skip
            found = self.market.from_id(instrument.market, whole(parameters, "fromId", 0), limit)
        elif "startTime" in parameters:
            start = whole(parameters, "startTime", 0)
            end = whole(parameters, "endTime", start + 3_600_000)
            found = self.market.since(instrument.market, start, end, limit)
        else:
            found = self.market.before(instrument.market, self.market.clock() + 1, limit)
        return [
            {
                key: value
                for key, value in aggregate_trade(t, 0).items()
                if key not in ("e", "E", "s")
            }
            for t in found
        ]

    def klines(self, parameters: Mapping[str, str]) -> list[list[Any]]:
        """`/klines`, the unfinished candle last."""
        instrument = self.instrument(parameters)
        if parameters.get("interval") not in INTERVALS:
            raise BadRequest(400, {"code": -1120, "msg": "Invalid interval."})
        limit = min(1500, whole(parameters, "limit", 500))
        length = INTERVALS[parameters["interval"]]
        start = whole(parameters, "startTime", 0)
        end = whole(parameters, "endTime", 1 << 62)
        reach = (self.market.clock() - start) // (1000 * length) + 2
        if "endTime" not in parameters and not start:
            reach = limit
        known = self.market.candles(instrument).latest(length, max(1, reach))
        within = [c for c in known if start <= c.open_ms <= end]
        price, size = instrument.price_decimals, instrument.size_decimals
        return [
            [
                c.open_ms, f"{c.open:.{price}f}", f"{c.high:.{price}f}", f"{c.low:.{price}f}",
                f"{c.close:.{price}f}", f"{c.base:.{size}f}", c.close_ms, f"{c.quote:.8f}",
                c.trades, f"{c.bought:.{size}f}", f"{c.bought_quote:.8f}", "0",
            ]
            for c in (within[:limit] if start else within[-limit:])
        ]  # fmt: skip

    def order_book(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """`/depth` around the last price."""
        instrument = self.instrument(parameters)
        bids, asks = depth(
            instrument,
            self.market.last_price(instrument),
            self.market.clock() // 1000,
            whole(parameters, "limit", 100),
        )
        now = self.market.clock()
        return {"lastUpdateId": now, "E": now, "T": now, "bids": bids, "asks": asks}

    def day_ticker(self, parameters: Mapping[str, str]) -> Any:
        """`/ticker/24hr`, of one symbol or of all."""
        return self._one_or_all(parameters, self._day_ticker)

    def book_ticker(self, parameters: Mapping[str, str]) -> Any:
        """`/ticker/bookTicker`, of one symbol or of all."""
        return self._one_or_all(parameters, self._book_ticker)

    def price_ticker(self, parameters: Mapping[str, str]) -> Any:
        """`/ticker/price`, of one symbol or of all."""
        return self._one_or_all(parameters, lambda i: {"symbol": i.native, "price": self.price(i)})

    def price(self, instrument: Instrument) -> str:
        """The last price as the venue writes it."""
        return f"{self.market.last_price(instrument):.{instrument.price_decimals}f}"

    def instrument(self, parameters: Mapping[str, str]) -> Instrument:
        """The instrument of the parameter `symbol`. Raises `BadRequest`."""
        symbol = parameters.get("symbol")
        if not symbol:
            raise BadRequest(400, {"code": -1102, "msg": "Mandatory parameter 'symbol' was not "
                                   "sent, was empty/null, or malformed."})  # fmt: skip
        for instrument in self.instruments:
            if instrument.native == symbol:
                return instrument
        raise BadRequest(400, {"code": -1121, "msg": "Invalid symbol."})

    def _day_ticker(self, instrument: Instrument) -> dict[str, Any]:
        day = self.market.candles(instrument).latest(3600, 24)
        price = instrument.price_decimals
        last, opened = day[-1].close, day[0].open
        return {
            "symbol": instrument.native,
            "priceChange": f"{last - opened:.{price}f}",
            "priceChangePercent": f"{100 * (last / opened - 1):.3f}",
            "lastPrice": self.price(instrument),
            "openPrice": f"{opened:.{price}f}",
            "highPrice": f"{max(c.high for c in day):.{price}f}",
            "lowPrice": f"{min(c.low for c in day):.{price}f}",
            "volume": f"{sum(c.base for c in day):.{instrument.size_decimals}f}",
            "quoteVolume": f"{sum(c.quote for c in day):.2f}",
            "openTime": day[0].open_ms,
            "closeTime": self.market.clock(),
            "count": sum(c.trades for c in day),
        }

    def _book_ticker(self, instrument: Instrument) -> dict[str, Any]:
        now = self.market.clock()
        bids, asks = depth(instrument, self.market.last_price(instrument), now // 1000, 1)
        return {
            "symbol": instrument.native, "bidPrice": bids[0][0], "bidQty": bids[0][1],
            "askPrice": asks[0][0], "askQty": asks[0][1], "time": now,
        }  # fmt: skip

    def _one_or_all(self, parameters: Mapping[str, str], answer: Any) -> Any:
        if "symbol" in parameters:
            return answer(self.instrument(parameters))
        return [answer(instrument) for instrument in self.instruments]

    def _subscribe(self, client: Client, path: str, names: Sequence[str]) -> None:
        carried = next((kinds for part, kinds in self.streams.items() if part in path), ())
        for name in names:
            if name.partition("@")[2] in carried or name in carried:
                wrap = name if path.endswith("/stream") else ""
                self.hub.subscribe(client, self._prefix() + name, wrap)

    def _prefix(self) -> str:
        return f"{self.instruments[0].exchange}/"

    def _stream(self, instrument: Instrument, kind: str) -> str:
        return f"{self._prefix()}{instrument.native.lower()}@{kind}"


class BinanceSpot(BinanceDialect):
    """Spot; `sockets` and `apis`: the hosts."""

    sockets: ClassVar[tuple[str, ...]]
    apis: ClassVar[tuple[str, ...]]
    gapless = True
    ping_interval_s = 20.0
    streams: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "/ws": ("trade", "aggTrade"),
        "/stream": ("trade", "aggTrade"),
    }

    def routes(self) -> list[web.RouteDef]:
        found = []
        for host in self.sockets:
            found += [
                web.get(f"/{host}/ws", self.socket),
                web.get(f"/{host}/ws/{{names:.+}}", self.socket),
                web.get(f"/{host}/stream", self.socket),
            ]
        for host in self.apis:
            root = f"/{host}/api/v3"
            found += [
                rest(f"{root}/ping", lambda _: {}),
                rest(f"{root}/time", lambda _: {"serverTime": self.market.clock()}),
                rest(f"{root}/exchangeInfo", self._exchange_info),
                rest(f"{root}/aggTrades", self.aggregate_trades),
                rest(f"{root}/klines", self.klines),
                rest(f"{root}/depth", self.order_book),
                rest(f"{root}/ticker/24hr", self.day_ticker),
                rest(f"{root}/ticker/bookTicker", self.book_ticker),
                rest(f"{root}/ticker/price", self.price_ticker),
            ]
        return found

    def _exchange_info(self, _: Mapping[str, str]) -> dict[str, Any]:
        return {
            "timezone": "UTC",
            "serverTime": self.market.clock(),
            "rateLimits": [],
            "exchangeFilters": [],
            "symbols": [
                {
                    "symbol": i.native,
                    "status": "TRADING",
                    "baseAsset": i.base,
                    "baseAssetPrecision": 8,
                    "quoteAsset": i.quote,
                    "quotePrecision": 8,
                    "quoteAssetPrecision": 8,
                    "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
                    "isSpotTradingAllowed": True,
                    "isMarginTradingAllowed": False,
                    "filters": filters(i, "NOTIONAL", "minNotional", "5.00000000"),
                    "permissions": [],
                    "permissionSets": [["SPOT"]],
                }
                for i in self.instruments
            ],
        }


class Binance(BinanceSpot):
    """The international exchange."""

    name = "BINANCE"
    instruments = INSTRUMENTS
    sockets = ("stream.binance.com", "data-stream.binance.vision")
    apis = ("api.binance.com", "data-api.binance.vision")


def filters(instrument: Instrument, name: str, field: str, value: str) -> list[dict[str, Any]]:
    """Order filters; the last one's name and field differ between spot and futures."""
    return [
        {
            "filterType": "PRICE_FILTER", "minPrice": instrument.tick, "maxPrice": "1000000.00",
            "tickSize": instrument.tick,
        },
        {
            "filterType": "LOT_SIZE", "minQty": instrument.step, "maxQty": "10000.000",
            "stepSize": instrument.step,
        },
        {
            "filterType": "MARKET_LOT_SIZE", "minQty": instrument.step, "maxQty": "1000.000",
            "stepSize": instrument.step,
        },
        {"filterType": name, field: value},
    ]  # fmt: skip


def single_trade(trade: Trade, event_ms: int) -> dict[str, Any]:
    """A `@trade` event (m: the buyer was the maker, so the taker sold)."""
    return {
        "e": "trade", "E": event_ms, "s": trade.instrument.native, "t": trade.id,
        "p": trade.price, "q": trade.size, "T": trade.ts_ms, "m": not trade.buy, "M": True,
    }  # fmt: skip


def aggregate_trade(trade: Trade, event_ms: int) -> dict[str, Any]:
    """An `@aggTrade` event that stands for one trade and shares its id."""
    return {
        "e": "aggTrade", "E": event_ms, "s": trade.instrument.native, "a": trade.id,
        "p": trade.price, "q": trade.size, "f": trade.id, "l": trade.id, "T": trade.ts_ms,
        "m": not trade.buy, "M": True,
    }  # fmt: skip


def _wrapped(frame: str, stream: str) -> str:
    return f'{{"stream":"{stream}","data":{frame}}}'
