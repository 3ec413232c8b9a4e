"""`python -m services.simulator`: the simulated venues, on one port."""

from __future__ import annotations

import asyncio
import sys
import time
from logging import getLogger
from pathlib import Path

from aiohttp import web

from aggr_server import clock
from aggr_server.influx import InfluxClient
from aggr_server.log import kv
from services.core import service
from services.core.settings import SimulatorSettings
from services.simulator import gateway, history, venues
from services.simulator.connections import Hub
from services.simulator.control import Control
from services.simulator.faults import Faults
from services.simulator.ledger import Ledger, LedgerError
from services.simulator.market import Market
from services.simulator.pulses import Pulses
from services.simulator.stream import Stream

SERVICE = "simulator"
LEAD_S = 3
_REMIND_S = 15.0
_log = getLogger(__name__)


async def main(settings: SimulatorSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    clock.adjust(settings.simulated_clock)
    instruments = venues.instruments(settings.simulator_venues)
    ledger = Ledger(Path(settings.simulator_dir), instruments)
    try:
        market = Market(settings.simulator_seed, instruments, ledger, load=settings.simulator_load)
        await _serve(settings, stop, market)
    finally:
        ledger.close()


async def _serve(settings: SimulatorSettings, stop: asyncio.Event, market: Market) -> None:
    hub = Hub()
    markets = {name: i.exchange for name, i in market.instruments.items()}
    signed = [name for name, venue in venues.known().items() if venue.signed]
    faults = Faults(markets, signed=signed, seed=market.seed)
    built = venues.create(market, hub, faults, settings.simulator_venues)
    stream = Stream(market, built, hub, faults)
    control = Control(market, hub, built, stream, faults)
    runner = web.AppRunner(gateway.application(built, control, faults), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.bind_address, settings.simulator_port).start()
        _log.info("listening %s", kv(port=settings.simulator_port, seed=market.seed))
        async with asyncio.TaskGroup() as tasks:
            trading = tasks.create_task(_trade(settings, market, hub, stream, control))
            beating = tasks.create_task(_beat(settings, stream))
            breaking = tasks.create_task(Pulses(hub, built, faults).run())
            await stop.wait()
            for task in (trading, beating, breaking):
                task.cancel()
    finally:
        await runner.cleanup()


async def _trade(
    settings: SimulatorSettings, market: Market, hub: Hub, stream: Stream, control: Control
) -> None:
    if market.live_from is None:
        past = await _past(settings, market)
        await _all_subscribed(hub, control)
        market.plan(clock.now_ms() // 1000 + LEAD_S)
        _log.info("trading planned %s", kv(live_from=market.live_from))
    elif market.ledger.get("history_written") is None:
        past = await _past(settings, market)
    else:
        past = None
    await stream.resume()
    for venue in control.venues:
        for instrument in venue.instruments if venue.serves_candles else ():
            # The first candles take a while to compute; live trading must not wait for them.
            if settings.simulator_history:
                await asyncio.to_thread(market.candles, instrument)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stream.run())
        if past is not None:
            began = time.monotonic()
            async with InfluxClient(settings, timeout_s=30.0) as influx:
                points = await history.write(influx, market, past)
            market.ledger.put("history_written", 1)
            _log.info("history written %s", kv(points=points, seconds=time.monotonic() - began))
        control.ready = True


async def _past(settings: SimulatorSettings, market: Market) -> history.Seconds | None:
    if not settings.simulator_history:
        return None
    return await asyncio.to_thread(history.compute, market)


async def _all_subscribed(hub: Hub, control: Control) -> None:
    channels = control.channels()
    while missing := await hub.wait_for(channels.values(), _REMIND_S):
        names = [market for market, channel in channels.items() if channel in missing]
        _log.info("waiting for subscriptions %s", kv(missing=",".join(names)))


async def _beat(settings: SimulatorSettings, stream: Stream) -> None:
    pulse = service.Pulse(SERVICE, settings, None)
    while True:
        if not stream.stalled:
            pulse.beat(0.0, details={"second": stream.second})
        await asyncio.sleep(1.0)


if __name__ == "__main__":
    try:
        service.run(SERVICE, SimulatorSettings, main)
    except LedgerError as error:
        print(f"{SERVICE}: {error}", file=sys.stderr)
        sys.exit(service.BAD_SETTINGS_EXIT)
