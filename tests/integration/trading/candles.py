"""A first start with nearly nothing stored, and a venue whose candles tell what was before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from aggr_server.influx import InfluxClient
from aggr_server.points import market_line
from aggr_server.settings import Connections
from aggr_server.wire import Market
from services.core.records import Signal
from tests.integration.trading.harness import Runner, Tape, eventually, markets, store
from tests.unit.strategy.scenarios import LEAD_S

SPOT = Market("BINANCE:btcusdt", "BINANCE", "BTC", "USDT", "spot")
PERP = Market("BINANCE_FUTURES:btcusdt", "BINANCE_FUTURES", "BTC", "USDT", "perp")
SPLIT = {
    SPOT.market: ("spot", 0.6, 1.0005),
    "VENUE_B:btc-usd": ("spot", 0.4, 0.9995),
    PERP.market: ("perp", 0.7, 1.0),
    "VENUE_B:btc-perp": ("perp", 0.3, 1.001),
}
"""For `harness.SPLIT`: four markets, one of each class with candles."""

BEGIN = LEAD_S // 60 * 60
FIRST = BEGIN - 1800 + 17
"""What is known of the tape when the service starts at `BEGIN`: half an hour, not on the minute."""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Venue:
    """Binance's candles, made of a tape; `refusal` is answered instead while it is set."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self.requests = 0
        self.refusal: tuple[int, dict[str, str]] | None = None
        app = web.Application()
        app.router.add_get("/api.binance.com/api/v3/klines", self._answer(SPOT.market))
        app.router.add_get("/fapi.binance.com/fapi/v1/klines", self._answer(PERP.market))
        self.server = TestServer(app)

    @property
    def gateway(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    def _answer(self, name: str) -> Answer:
        async def answer(request: web.Request) -> web.StreamResponse:
            self.requests += 1
            assert request.query["symbol"] == "BTCUSDT"
            if self.refusal is not None:
                status, headers = self.refusal
                return web.json_response({"msg": "no"}, status=status, headers=headers)
            first, last = (int(request.query[k]) // 1000 for k in ("startTime", "endTime"))
            return web.json_response(
                [self._row(name, t) for t in range(first, last, 60) if t >= self._tape.start][:1000]
            )

        return answer

    def _row(self, name: str, t: int) -> list[Any]:
        bars = [b for i in range(t - self._tape.start, t - self._tape.start + 60)
                for b in self._tape.bars(i) if b.market == name]  # fmt: skip
        buy, sell = sum(b.vbuy for b in bars), sum(b.vsell for b in bars)
        prices = (bars[0].open, max(b.high for b in bars), min(b.low for b in bars), bars[-1].close)
        return [t * 1000, *map(repr, prices), "1", t * 1000 + 59_999, repr(buy + sell), 60, "1",
                repr(buy), "0"]  # fmt: skip


@asynccontextmanager
async def cold_runner(
    connections: Connections, influx: InfluxClient, tape: Tape, folder: Path, gateway: str
) -> AsyncIterator[Runner]:
    """A runner at second `BEGIN` that knows when it will have history enough."""
    await store(influx, tape, FIRST, BEGIN)
    known = msgspec.structs.replace(connections, exchange_gateway=gateway)
    async with Runner(known, tape, folder, squeezeflow_backfill=True) as runner:
        await runner.start(BEGIN)
        await eventually(lambda: runner.btc.usable_at)
        yield runner


async def fill_up(runner: Runner, influx: InfluxClient) -> None:
    """Let it fill its history from candles, until it has seen second `BEGIN + 80`."""
    i = BEGIN + 80
    await store(influx, runner.tape, BEGIN, i)
    await runner.play(BEGIN + 1, i)
    await eventually(lambda: not runner.btc.live)
    await runner.publish(i)
    await eventually(lambda: runner.btc.live)


async def signal_on_candles(
    connections: Connections, influx: InfluxClient, tape: Tape, folder: Path
) -> Signal:
    """The entry decided live on a filled history; everything is stored as it is in operation."""
    venue = Venue(tape)
    await venue.server.start_server()
    try:
        runner_of = cold_runner(connections, influx, tape, folder, venue.gateway)
        async with runner_of as runner:
            await fill_up(runner, influx)
            await runner.play(BEGIN + 81, LEAD_S + 2780, lambda: bool(runner.btc.signal))
            signal = runner.btc.signal
    finally:
        await venue.server.close()
    assert signal is not None
    await influx.write([market_line(market, tape.start) for market in markets()])
    await store(influx, tape, BEGIN + 80, LEAD_S + 3600)
    return signal
