"""The library's own class of an exchange, against a server that speaks that exchange's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import msgspec
import pytest
from aiohttp import WSMsgType, web

from aggr_server import ccxt_markets
from aggr_server.bars import BarBuilder
from aggr_server.ccxt_link import CcxtLink, CcxtSocket
from aggr_server.exchanges.base import Instrument, StreamKind, Trade, Window
from aggr_server.markets import MarketState
from aggr_server.rest import RestFailed
from aggr_server.transport import Disconnected
from aggr_server.venue import VenueFeeds

EXCHANGE = "coinbaseexchange"
PRODUCT = {
    "id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD", "quote_increment": "0.01",
    "base_increment": "0.00000001", "display_name": "BTC/USD", "min_market_funds": "1",
    "status": "online", "trading_disabled": False, "margin_enabled": False, "post_only": False,
    "limit_only": False, "cancel_only": False, "auction_mode": False,
}  # fmt: skip


def _trade(number: int) -> dict[str, object]:
    second, ms = divmod(number, 1000)
    return {
        "trade_id": number, "side": "sell", "size": "0.5", "price": "50000",
        "time": f"2023-11-14T22:13:{20 + second:02d}.{ms:03d}000Z",
    }  # fmt: skip


class Venue:
    """Speaks the exchange's REST and websocket under the paths of a gateway."""

    def __init__(self) -> None:
        self.url = ""
        self.sockets: list[web.WebSocketResponse] = []
        self.asked: list[str] = []
        self.subscribed = asyncio.Event()
        self.closed = asyncio.Event()
        self.failing = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        self.asked.append(request.path_qs)
        if self.failing:
            return web.json_response({"message": "Internal error"}, status=500)
        if request.path.endswith("/products"):
            return web.json_response([PRODUCT])
        if request.path.endswith("/trades"):
            return web.json_response([_trade(n) for n in (30, 20, 10)])
        return web.json_response([])

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        self.closed.clear()
        async for message in socket:
            if message.type is WSMsgType.TEXT and "subscribe" in message.data:
                self.subscribed.set()
        self.closed.set()
        return socket

    async def send(self, number: int) -> None:
        await self.sockets[-1].send_json(
            {"type": "match", "product_id": "BTC-USD", "sequence": number, **_trade(number)}
        )


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    made = Venue()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def link(venue: Venue) -> AsyncIterator[CcxtLink]:
    made = CcxtLink(EXCHANGE, venue.url)
    yield made
    await made.close()


async def _market(link: CcxtLink) -> Instrument:
    adapter = ccxt_markets.adapter(EXCHANGE)
    (found,) = adapter.instruments(await link.ask(adapter.discovery[0])).instruments
    return found


async def _receive(socket: CcxtSocket, frames: list[bytes]) -> None:
    def take(frame: bytes) -> int:
        frames.append(frame)
        return 1

    await socket.receive_all(take, 100)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_markets_and_the_past_come_through_the_gateway(venue: Venue, link: CcxtLink) -> None:
    market = await _market(link)
    assert (market.symbol, market.base, market.quote) == ("BTC/USD", "BTC", "USD")
    adapter = ccxt_markets.adapter(EXCHANGE)
    window = Window(1_700_000_000_015, 1_700_000_000_025)
    request = adapter.past(market, window)
    assert request is not None
    past = adapter.read_past(market, window, await link.ask(request))
    assert [(t.ts_ms, t.id, t.is_buy) for t in past.trades] == [
        (1_700_000_000_010, "10", True),
        (1_700_000_000_020, "20", True),
        (1_700_000_000_030, "30", True),
    ]
    assert past.since_ms == 0
    assert all(path.startswith("/api.exchange.coinbase.com/") for path in venue.asked)


async def test_an_exchange_that_fails_is_an_error_of_rest(venue: Venue, link: CcxtLink) -> None:
    venue.failing = True
    with pytest.raises(RestFailed, match=r"ExchangeError|ExchangeNotAvailable"):
        await link.ask(ccxt_markets.adapter(EXCHANGE).discovery[0])


async def test_trades_flow_once_watched_until_the_connection_ends(
    venue: Venue, link: CcxtLink
) -> None:
    await _market(link)
    socket = await link.connect("")
    frames: list[bytes] = []
    receiving = asyncio.create_task(_receive(socket, frames))
    await socket.send('["BTC/USD"]')
    await asyncio.wait_for(venue.subscribed.wait(), 10)
    await _until(lambda: b'"watched":true' in b"".join(frames))
    for number in (1, 2, 3):
        await venue.send(number)
    adapter = ccxt_markets.adapter(EXCHANGE)
    await _until(lambda: b'"3"' in b"".join(frames))
    events = [event for frame in frames for event in adapter.parse(frame)]
    assert [e.id for e in events if isinstance(e, Trade)] == ["1", "2", "3"]
    await venue.sockets[-1].close()
    with pytest.raises(Disconnected):
        await asyncio.wait_for(receiving, 10)
    await socket.close()


async def test_a_symbol_that_does_not_exist_is_refused(venue: Venue, link: CcxtLink) -> None:
    await _market(link)
    socket = await link.connect("")
    frames: list[bytes] = []
    receiving = asyncio.create_task(_receive(socket, frames))
    await socket.send('["NOPE/USD"]')
    await _until(lambda: bool(frames))
    assert msgspec.json.decode(frames[0])["refused"].startswith("BadSymbol")
    await socket.close()
    receiving.cancel()
    with suppress(asyncio.CancelledError):
        await receiving


class _Sink:
    def __init__(self) -> None:
        self.told: list[str] = []

    def live(self, market: MarketState, kind: StreamKind, at_ms: int) -> None:
        self.told.append("live")

    def lost(self, market: MarketState, kind: StreamKind, at_ms: int, reason: str) -> None:
        self.told.append("lost")

    def refused(self, market: MarketState, kind: StreamKind, reason: str) -> None:
        self.told.append("refused")

    def doubtful(self, market: MarketState, from_ms: int, to_ms: int, reason: str) -> None:
        self.told.append("doubtful")

    async def newest_trade_ms(self, market: MarketState) -> int | None:
        return None


async def test_the_feeds_of_any_venue_run_on_it(venue: Venue, link: CcxtLink) -> None:
    """A connection that breaks is reported and replaced; trades delivered twice count once."""
    adapter = ccxt_markets.adapter(EXCHANGE)
    builder = BarBuilder()
    market = await _market(link)
    state = MarketState(adapter, market, builder.series(adapter.market(market)))
    sink = _Sink()
    feeds = VenueFeeds(adapter, [state], link, sink, sink)
    running = asyncio.create_task(feeds.run())
    try:
        await _until(lambda: sink.told == ["live"])
        await venue.send(1)
        await _until(lambda: state.trades + state.duplicates + state.last_trade_ms > 0)
        await venue.sockets[-1].close()
        await _until(lambda: sink.told == ["live", "lost", "live"])
        await venue.send(1)
        await _until(lambda: state.duplicates == 1)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
