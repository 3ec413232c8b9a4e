"""Markets `CCXT:exchange:symbol`: any exchange the library ccxt knows, by its websocket classes.

Slower than the exchanges with an adapter of their own, but maintained by others. The library
stands where a venue's sockets and REST would be: `ccxt_link.CcxtLink` lets it speak the messages
that the adapter here understands. All else, from silence to recovery, is as for every venue.

    adapter = ccxt_markets.adapter("kraken")      # of the market CCXT:kraken:BTC/USD
    link = CcxtLink(adapter.exchange_id, gateway)
    VenueFeeds(adapter, states, link, ...)        # instead of a PicowsConnector
    Recovery(adapter, link, ...)                  # instead of a VenueRest
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, TypeGuard
from urllib.parse import quote

import msgspec

from aggr_server.exchanges.base import (
    NOTHING,
    Ack,
    Adapter,
    Channel,
    Event,
    Instrument,
    Liquidation,
    Page,
    Past,
    Rejection,
    Request,
    Stream,
    Subscription,
    Trade,
    Window,
    coin,
    encode,
)
from aggr_server.wire import Kind

PREFIX = "CCXT"
OVERLAP_MS = 10_000
"""The past is asked for from this long before a window: a trade there proves that it is whole."""

_KINDS: dict[str, Kind] = {"spot": "spot", "swap": "perp", "future": "future"}


class Row(msgspec.Struct, gc=False):
    """A trade in the library's unified form."""

    timestamp: int
    price: float
    amount: float
    side: Literal["buy", "sell"]
    id: str | None = None


class Message(msgspec.Struct, gc=False):
    """What the link tells: trades of a symbol, or whether it is watched."""

    symbol: str
    trades: list[Row] = []
    watched: bool = False
    refused: str = ""


class Told(msgspec.Struct):
    """Trades of the past; `since`: from which time on they were asked for."""

    since: int
    trades: list[Row]


class Listed(msgspec.Struct):
    """A market in the library's unified form."""

    symbol: str
    base: str
    quote: str
    type: str
    inverse: bool | None = None
    contract: bool | None = None
    contractSize: float | None = None
    active: bool | None = None


_message = msgspec.json.Decoder(Message)
_told = msgspec.json.Decoder(Told)
_listed = msgspec.json.Decoder(list[Listed])


class CcxtAdapter(Adapter):
    """One exchange of the library. `tells_past`: whether it has a list of past trades."""

    exchange_id: str
    tells_past: bool

    def instruments(self, body: bytes) -> Page:
        """`[{"symbol":"BTC/USDT:USDT","base":"BTC","quote":"USDT","type":"swap",
        "inverse":false,"contract":true,"contractSize":0.0001,"active":true}]`
        """
        return Page(
            [
                Instrument(
                    symbol=row.symbol,
                    wire=row.symbol,
                    base=coin(row.base),
                    quote=row.quote,
                    kind=_KINDS[row.type],
                    channel="trades",
                    inverse=bool(row.inverse),
                    contract_size=row.contractSize if row.contract else 1.0,
                )
                for row in _listed.decode(body)
                if row.type in _KINDS and row.active is not False
            ]
        )

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        symbols = [s.instrument.wire for s in streams]
        return [Subscription(encode(symbols), acks=len(symbols))]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"symbol":"BTC/USD","trades":[{"timestamp":1700000000123,"price":65000.1,
        "amount":0.5,"side":"buy","id":"42"}]}`, `{"symbol":"BTC/USD","watched":true}`,
        `{"symbol":"BTC/USD","refused":"kraken does not have market symbol BTC/USD"}`
        """
        message = _message.decode(frame)
        if message.trades:
            return _trades(message.symbol, message.trades)
        if message.refused:
            return (Rejection(message.refused, message.symbol, "trades"),)
        return (Ack(),) if message.watched else NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        pair, _, settle = wire.partition(":")
        base, _, quote_ = pair.partition("/")
        currency, dash, _ = settle.partition("-")
        return Instrument(
            symbol=wire,
            wire=wire,
            base=coin(base),
            quote=quote_,
            kind="future" if dash else "perp" if settle else "spot",
            channel="trades",
            inverse=bool(settle) and currency == base,
            contract_size=None if settle else 1.0,
        )

    def past(self, instrument: Instrument, window: Window) -> Request | None:
        if not self.tells_past:
            return None
        return _ask(instrument, max(0, window.from_ms - OVERLAP_MS))

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`{"since":1700000000000,"trades":[{"timestamp":1700000000123,..}]}`

        Exchanges differ: some tell what came after a time, page by page, some the newest only.
        An answer that does not begin where the one before ended, or before the window, has left
        something out.
        """
        told = _told.decode(body)
        trades = _trades(instrument.wire, told.trades)
        if not trades:
            return Past([])
        oldest, newest = trades[0].ts_ms, trades[-1].ts_ms
        first = told.since < window.from_ms
        whole = oldest < window.from_ms if first else oldest <= told.since
        going_on = newest < window.to_ms and newest > max(told.since, oldest)
        return Past(
            trades,
            _ask(instrument, newest) if going_on else None,
            since_ms=0 if whole else oldest + 1,
        )


def library(exchange_id: str) -> Any:
    """The library's class of an exchange. Raises `ValueError` if there is none."""
    # Imported here because it is large, and seldom asked for.
    import ccxt.pro

    if exchange_id not in ccxt.pro.exchanges:
        raise ValueError(f"ccxt has no exchange {exchange_id!r} with websockets")
    return getattr(ccxt.pro, exchange_id)


@cache
def adapter(exchange_id: str) -> CcxtAdapter:
    """The adapter of an exchange of the library. Raises `ValueError` if there is none."""
    id = exchange_id.lower()
    facts = library(id)().describe()
    if not facts["has"].get("watchTrades"):
        raise ValueError(f"ccxt has no stream of trades of {id!r}")

    class _Exchange(CcxtAdapter):
        name = f"{PREFIX}:{id}"
        channels = {"trades": Channel(url=f"wss://{id}.ccxt", max_streams=50)}  # noqa: RUF012
        discovery = (Request("ccxt:markets"),)
        connect_spacing_s = 2.0
        rest_spacing_s = max(0.2, facts["rateLimit"] / 1000)

    made = _Exchange()
    made.exchange_id = id
    made.tells_past = bool(facts["has"].get("fetchTrades"))
    return made


def is_ccxt(one: Adapter) -> TypeGuard[CcxtAdapter]:
    """Whether an adapter needs a `CcxtLink`."""
    return isinstance(one, CcxtAdapter)


def split(market: str) -> tuple[str, str]:
    """`CCXT:kraken` and `BTC/USD` of `CCXT:kraken:BTC/USD`; of any other, what the colon parts."""
    exchange, _, symbol = market.partition(":")
    if exchange.upper() != PREFIX:
        return exchange, symbol
    id, _, symbol = symbol.partition(":")
    return f"{PREFIX}:{id.lower()}", symbol


def _ask(instrument: Instrument, since_ms: int) -> Request:
    return Request(f"ccxt:trades?symbol={quote(instrument.wire, safe='')}&since={since_ms}")


def _trades(symbol: str, rows: Sequence[Row]) -> list[Trade]:
    """Oldest first; what the library keeps in order of arrival stays in it within a time."""
    found = [
        Trade(symbol, r.timestamp, r.price, r.amount, r.side == "buy", r.id or "") for r in rows
    ]
    found.sort(key=lambda trade: trade.ts_ms)
    return found


def plain(trade: dict[str, Any]) -> dict[str, Any]:
    """The part of the library's trade that is passed on."""
    return {key: trade.get(key) for key in ("id", "timestamp", "price", "amount", "side")}
