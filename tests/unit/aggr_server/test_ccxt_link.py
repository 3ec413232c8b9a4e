"""The library's own class of an exchange, against a server that speaks that exchange's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
import pytest

from aggr_server import ccxt_markets
from aggr_server.bars import BarBuilder
from aggr_server.ccxt_link import CcxtLink, CcxtSocket
from aggr_server.exchanges.base import Instrument, StreamKind, Trade, Window
from aggr_server.markets import MarketState
from aggr_server.rest import RestFailed
from aggr_server.transport import Disconnected
from aggr_server.venue import VenueFeeds
from tests.unit.aggr_server.ccxt_venue import EXCHANGE, CcxtVenue
from tests.waiting import within

eventually = within(20.0)

T0_MS = 1_700_000_000_000


@pytest.fixture
async def venue() -> AsyncIterator[CcxtVenue]:
    async with CcxtVenue().running() as made:
        yield made


@pytest.fixture
async def link(venue: CcxtVenue) -> AsyncIterator[CcxtLink]:
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


async def test_markets_and_the_past_come_through_the_gateway(
    venue: CcxtVenue, link: CcxtLink
) -> None:
    for number in (10, 20, 30):
        venue.happen(number, T0_MS + number)
    market = await _market(link)
    assert (market.symbol, market.base, market.quote) == ("BTC/USD", "BTC", "USD")
    adapter = ccxt_markets.adapter(EXCHANGE)
    window = Window(T0_MS + 15, T0_MS + 25)
    request = adapter.past(market, window)
    assert request is not None
    past = adapter.read_past(market, window, await link.ask(request))
    assert [(t.ts_ms, t.id, t.is_buy) for t in past.trades] == [
        (T0_MS + 10, "10", True),
        (T0_MS + 20, "20", True),
        (T0_MS + 30, "30", True),
    ]
    assert past.since_ms == 0
    assert all(path.startswith("/api.exchange.coinbase.com/") for path in venue.asked)


async def test_an_exchange_that_fails_is_an_error_of_rest(venue: CcxtVenue, link: CcxtLink) -> None:
    venue.failing = True
    with pytest.raises(RestFailed, match=r"ExchangeError|ExchangeNotAvailable"):
        await link.ask(ccxt_markets.adapter(EXCHANGE).discovery[0])


async def test_trades_flow_once_watched_until_the_connection_ends(
    venue: CcxtVenue, link: CcxtLink
) -> None:
    await _market(link)
    socket = await link.connect("")
    frames: list[bytes] = []
    receiving = asyncio.create_task(_receive(socket, frames))
    await socket.send('["BTC/USD"]')
    await asyncio.wait_for(venue.subscribed.wait(), 10)
    await eventually(lambda: b'"watched":true' in b"".join(frames))
    for number in (1, 2, 3):
        await venue.send(number, T0_MS + number)
    adapter = ccxt_markets.adapter(EXCHANGE)
    await eventually(lambda: b'"3"' in b"".join(frames))
    events = [event for frame in frames for event in adapter.parse(frame)]
    assert [e for e in events if isinstance(e, Trade)] == [
        Trade("BTC/USD", T0_MS + n, 50_000.0, 0.5, True, str(n)) for n in (1, 2, 3)
    ]
    await venue.break_off()
    with pytest.raises(Disconnected):
        await asyncio.wait_for(receiving, 10)
    await socket.close()


async def test_a_symbol_that_does_not_exist_is_refused(venue: CcxtVenue, link: CcxtLink) -> None:
    await _market(link)
    socket = await link.connect("")
    frames: list[bytes] = []
    receiving = asyncio.create_task(_receive(socket, frames))
    await socket.send('["NOPE/USD"]')
    await eventually(lambda: bool(frames))
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


async def test_the_feeds_of_any_venue_run_on_it(venue: CcxtVenue, link: CcxtLink) -> None:
    """A connection that breaks is reported and replaced; trades delivered twice count once."""
    adapter = ccxt_markets.adapter(EXCHANGE)
    builder = BarBuilder()
    market = await _market(link)
    state = MarketState(adapter, market, builder.series(adapter.market(market)))
    sink = _Sink()
    feeds = VenueFeeds(adapter, [state], link, sink, sink)
    running = asyncio.create_task(feeds.run())
    try:
        await eventually(lambda: sink.told == ["live"])
        await venue.send(1, T0_MS)
        await eventually(lambda: state.trades + state.duplicates + state.last_trade_ms > 0)
        await venue.break_off()
        await eventually(lambda: sink.told == ["live", "lost", "live"])
        await venue.send(1, T0_MS)
        await eventually(lambda: state.duplicates == 1)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
