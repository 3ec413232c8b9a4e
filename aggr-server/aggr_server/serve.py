"""The service: its parts put together, started and stopped."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from logging import getLogger
from pathlib import Path

import aiohttp
from aiohttp import web

from aggr_server import shards
from aggr_server.api import Api
from aggr_server.bus import redis_client
from aggr_server.collector import Collector
from aggr_server.discovery import chosen_adapters
from aggr_server.exchanges.base import Adapter
from aggr_server.forced import KnownForced
from aggr_server.health import status
from aggr_server.history import History
from aggr_server.influx import InfluxClient
from aggr_server.log import kv
from aggr_server.settings import CollectorSettings
from aggr_server.spool import Spool
from aggr_server.writer import Writer

LAST_WRITE_S = 5.0

_log = getLogger(__name__)


class PortInUse(Exception):
    """Somebody else listens there; the text says where, and what to do."""


class _Stopped(Exception):
    """The process was asked to stop."""


async def serve(settings: CollectorSettings, stop: asyncio.Event | None = None) -> None:
    """Collect until `stop` is set, or SIGTERM or SIGINT arrives.

    Raises `PortInUse`, `SpoolUnusable`, `SpoolInUse`, `ValueError` naming a setting, and
    `NothingToCollect`, `ClockSetBack` or a bug inside an exception group.
    """
    adapters = chosen_adapters(settings)
    stop = stop or _stop_on_signals()
    # Whoever asks sets a time limit of his own, by the collector's clock.
    timeout = aiohttp.ClientTimeout(total=None)
    folder = shards.parse(settings.aggr_shard).folder(Path(settings.aggr_data_dir))
    async with (
        InfluxClient(settings) as influx,
        redis_client(settings) as redis,
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        with _spool(settings, folder) as spool:
            writer = make_writer(settings, influx, spool)
            collector = Collector(
                settings,
                adapters,
                spool,
                writer,
                redis,
                session,
                folder=folder,
                status=status,
                forced=lambda builder: KnownForced(builder, influx, spool),
            )
            async with _listening(settings, Api(collector, History(influx)).app()):
                _log.info("started %s", _summary(settings, adapters))
                await _until(stop, collector)
                await _write_the_rest(writer)


def make_writer(settings: CollectorSettings, influx: InfluxClient, spool: Spool) -> Writer:
    """A writer as the settings ask for it."""
    return Writer(
        influx,
        spool,
        batch=settings.influx_batch_size,
        flush_s=settings.influx_flush_interval,
    )


@contextmanager
def _spool(settings: CollectorSettings, folder: Path) -> Iterator[Spool]:
    spool = Spool.open(
        folder / "spool", settings.aggr_spool_max_bytes, keep_s=settings.aggr_buffer_size
    )
    try:
        yield spool
    finally:
        spool.close()


async def _until(stop: asyncio.Event, collector: Collector) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(collector.run())
            group.create_task(_raise_when_set(stop))
    except* _Stopped:
        pass


async def _write_the_rest(writer: Writer) -> None:
    try:
        async with asyncio.timeout(LAST_WRITE_S):
            await writer.flush()
    except TimeoutError:
        pass
    _log.info("stopped %s", kv(seconds_not_stored=writer.backlog))


async def _raise_when_set(stop: asyncio.Event) -> None:
    await stop.wait()
    raise _Stopped


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@asynccontextmanager
async def _listening(settings: CollectorSettings, app: web.Application) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.bind_address, settings.port).start()
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {settings.port} on {settings.bind_address} is in use: stop the program that "
                "listens there, or choose another PORT in .env"
            ) from error
        raise
    finally:
        await runner.cleanup()


def _summary(settings: CollectorSettings, adapters: Sequence[Adapter]) -> str:
    return kv(
        pid=os.getpid(),
        address=f"http://{settings.bind_address}:{settings.port}",
        exchanges=",".join(adapter.name for adapter in adapters),
        symbols=",".join(settings.aggr_markets or settings.aggr_symbols),
    )
