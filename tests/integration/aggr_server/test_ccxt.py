"""The whole collector with a market of the library ccxt."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count
from pathlib import Path

from redis.asyncio import Redis

from aggr_server.settings import Connections
from tests.integration.aggr_server.process import eventually
from tests.integration.aggr_server.test_serve import collecting, now_ms, settings_for
from tests.unit.aggr_server.ccxt_venue import EXCHANGE, CcxtVenue

MISSED = 1_000_000
MARKET = f"CCXT:{EXCHANGE}:BTC/USD"


async def test_what_a_break_missed_is_fetched_by_the_library(
    tmp_path: Path, connections: Connections, redis: Redis
) -> None:
    async with CcxtVenue().running() as venue:
        settings = settings_for(
            connections, venue.url, tmp_path, aggr_exchanges=(), aggr_markets=(MARKET,)
        )
        async with collecting(venue, settings, redis) as stack:  # type: ignore[arg-type]
            await venue.subscribed.wait()
            # Only a later trade proves that the venue's record reaches beyond a gap.
            trading = asyncio.create_task(_trade_on(venue))
            await eventually(lambda: bool(stack.listener.bars()))
            bar = next(iter(stack.listener.bars().values()))
            assert (bar.market, bar.vbuy) == (MARKET, bar.cbuy * 25_000.0)
            await eventually(lambda: stack.listener.newest not in stack.listener.missing())
            await venue.break_off()
            missed_ms = now_ms() + 5
            venue.happen(MISSED, missed_ms, 40_000.0)
            await venue.subscribed.wait()
            second = missed_ms // 1000
            await eventually(
                lambda: second in stack.listener.bars() and second not in stack.listener.missing()
            )
            trading.cancel()
            bar = stack.listener.bars()[second]
            assert (bar.low, bar.vbuy % 25_000) == (40_000.0, 20_000.0)


async def _trade_on(venue: CcxtVenue) -> None:
    for number in count(1):
        with suppress(ConnectionError):
            await venue.send(number, now_ms())
        await asyncio.sleep(0.5)
