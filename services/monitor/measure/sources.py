"""Every source beside services, containers and host, with its cadence and its connections."""

from __future__ import annotations

import asyncio

import aiohttp
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from services.core.settings import SystemMonitorSettings
from services.freqtrade_client import FreqtradeClient
from services.monitor.measure import backup, clock, feeds, influx, interest, redis, trading
from services.monitor.measure.board import Source

NEEDS = {
    "bars": "aggr-server",
    "collector": "aggr-server",
    "open-interest": "oi-tracker",
    "signals": "strategy-runner",
    "freqtrade": "freqtrade",
}
"""Source -> service without which there is nothing to read."""


class Sources:
    """`redis` answers at once or fails; `streams` waits for messages. Close it at the end."""

    def __init__(
        self,
        settings: SystemMonitorSettings,
        redis: Redis,
        streams: Redis,
        influx: InfluxClient,
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._influx = influx
        self._bars = feeds.Bars(streams, redis)
        self._freqtrade = FreqtradeClient(settings, timeout_s=trading.FREQTRADE_TIMEOUT_S / 3)
        self._session: aiohttp.ClientSession | None = None

    def all(self) -> list[Source]:
        """What to give to the board: of the services that must be up."""
        services = self._settings.stack_services
        return [s for s in self._every() if s.name not in NEEDS or NEEDS[s.name] in services]

    def _every(self) -> list[Source]:
        settings, bus = self._settings, self._redis
        collector = feeds.Collector(settings.aggr_server_url, self._http)
        venues = clock.Clock(settings.exchange_gateway)
        database = influx.InfluxServer(self._influx, settings.influx_database)
        backups = backup.Backups(settings.backup_dir)
        return [
            Source("clock", venues.readings, clock.EVERY_S, clock.TIMEOUT_S),
            Source("redis", redis.RedisServer(bus).readings, redis.EVERY_S),
            Source("influx", database.readings, influx.EVERY_S, influx.TIMEOUT_S),
            Source("bars", self._bars.readings),
            Source("collector", collector.readings, feeds.EVERY_S, feeds.TIMEOUT_S),
            Source("open-interest", interest.OpenInterest(bus).readings, interest.EVERY_S),
            Source("halt", trading.Switch(bus).readings),
            Source(
                "signals",
                trading.Signals(self._influx).readings,
                trading.SIGNALS_EVERY_S,
                trading.SIGNALS_TIMEOUT_S,
            ),
            Source(
                "freqtrade",
                trading.Freqtrade(self._freqtrade).readings,
                trading.FREQTRADE_EVERY_S,
                trading.FREQTRADE_TIMEOUT_S,
            ),
            Source("backup", backups.readings, backup.EVERY_S),
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Listen to the bars until `stop` is set."""
        await self._bars.run(stop)

    async def close(self) -> None:
        """Close the connections that were opened here."""
        await self._freqtrade.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=feeds.TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout)
        return self._session
