"""One round after the other: measure what is due, judge it, tell what must be told, store it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from logging import getLogger

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.influx import InfluxClient
from aggr_server.log import kv
from services.core import names
from services.core.alerts import tell
from services.core.records import Alert, Heartbeat
from services.core.settings import SystemMonitorSettings
from services.monitor import readings as records
from services.monitor import rules, usage
from services.monitor.archive import Archive
from services.monitor.checks import Checker
from services.monitor.host import HostSampler
from services.monitor.incidents import Incident, Incidents
from services.monitor.measure.board import Board, Source
from services.monitor.measure.containers import Containers
from services.monitor.measure.host import Machine
from services.monitor.measure.services import Services
from services.monitor.readings import Reading
from services.monitor.writer import ReadingLines, Writer, alert_line
from services.notify.notifier import Notifier

WAITING_ALERTS = 1000
OWN_SOURCES = ("containers", "host")
"""What the monitor is not well without; all else it tells as an alert of that."""

LEVELS = {"critical": 40, "warning": 30, "info": 20}

_log = getLogger(__name__)


class Monitor:
    """Stores what it measures, raises and clears alerts.

    `sources`: what is measured beside services, containers and host. Raises `SettingsError` for
    rules that cannot be used.
    """

    def __init__(
        self,
        settings: SystemMonitorSettings,
        redis: Redis,
        influx: InfluxClient,
        checker: Checker,
        source: usage.Source,
        notifier: Notifier | None = None,
        *,
        sources: Sequence[Source] = (),
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._notifier = notifier
        self._writer = Writer(influx)
        self._lines = ReadingLines()
        self._services = Services(checker, self._writer.put)
        containers = Containers(source, self._pids, self._writer.put)
        machine = Machine(HostSampler(settings.monitor_disk_paths), self._writer.put)
        self._board = Board(
            [
                Source("services", self._services.readings, timeout_s=10.0),
                Source("containers", containers.readings, timeout_s=10.0),
                Source("host", machine.readings),
                *sources,
            ]
        )
        self._rules = rules.load(settings.alert_rules)
        self._incidents = Incidents()
        self._archive = Archive(redis)
        self._restored = False
        # Alerts wait here while Redis is away; each is in the log already.
        self._unsent: deque[Alert] = deque(maxlen=WAITING_ALERTS)

    @property
    def status(self) -> str:
        """`ok`, or what is wrong, for the heartbeat."""
        blind = self._board.problems
        problems = [
            *(blind[name] for name in OWN_SOURCES if name in blind),
            self._writer.error and f"InfluxDB: {self._writer.error}",
            self._notifier and self._notifier.problem,
        ]
        return "; ".join(problem for problem in problems if problem) or "ok"

    @property
    def details(self) -> dict[str, object]:
        """Figures for the heartbeat."""
        return {"open_incidents": len(self._incidents.open), "blind": sorted(self._board.problems)}

    @property
    def open_incidents(self) -> int:
        """Incidents that were told and are not over."""
        return len(self._incidents.open)

    async def round(self) -> None:
        """Look once at everything. Redis, InfluxDB or Docker being away ends nothing."""
        await self._restore()
        readings = await self._board.look()
        now_s = time.time()
        alerts = self._incidents.update(rules.findings(readings, self._rules), now_s)
        await self._tell(alerts)
        await self._publish(readings)
        # What others told; our own as well, so that they are stored while Redis is away.
        told = [*map(alert_line, alerts), *await self._archive.lines()]
        self._writer.put([*self._lines.of(readings), *told])
        await self._writer.write()

    async def close(self) -> None:
        """End what is still under way."""
        await self._board.close()
        await self._writer.close()

    async def _pids(self) -> Mapping[str, int]:
        keys = [names.heartbeat(service) for service in self._settings.stack_services]
        try:
            values = await self._redis.mget(keys)
            beats = [msgspec.json.decode(v, type=Heartbeat) for v in values if v is not None]
        except (RedisError, msgspec.MsgspecError) as error:
            _log.debug("pids not known %s", kv(error=error))
            return {}
        return {beat.service: beat.pid for beat in beats}

    async def _restore(self) -> None:
        """Incidents told before this process started: neither tell them again nor forget them."""
        if self._restored:
            return
        try:
            stored = await self._redis.hgetall(names.INCIDENTS)
            for key, value in stored.items():
                name = key.decode() if isinstance(key, bytes) else key
                incident = msgspec.json.decode(value, type=Incident)
                self._incidents.open[name] = incident
                if incident.reading == "service_down":
                    self._services.seen([incident.subject])
        except (RedisError, msgspec.MsgspecError) as error:
            _log.debug("open incidents not known %s", kv(error=error))
            return
        self._restored = True

    async def _tell(self, alerts: list[Alert]) -> None:
        for alert in alerts:
            _log.log(LEVELS[alert.level], "alert %s", kv(code=alert.code, text=alert.text))
            if self._notifier is not None:
                self._notifier.tell(alert)
        self._unsent.extend(alerts)
        if not self._unsent and not self._incidents.changed:
            return
        try:
            await self._send(list(self._unsent))
        except RedisError as error:
            _log.warning("alerts wait for Redis %s", kv(alerts=len(self._unsent), error=error))

    async def _send(self, alerts: Sequence[Alert]) -> None:
        """Alerts and open incidents in one transaction: a restart must not tell one anew."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for alert in alerts:
                tell(pipe, msgspec.json.encode(alert))
            if self._restored:
                pipe.delete(names.INCIDENTS)
                for key, incident in self._incidents.open.items():
                    pipe.hset(names.INCIDENTS, key, msgspec.json.encode(incident))
            await pipe.execute()
        self._unsent.clear()
        self._incidents.changed = self._incidents.changed and not self._restored

    async def _publish(self, readings: Sequence[Reading]) -> None:
        try:
            await records.publish(self._redis, readings)
        except RedisError as error:
            _log.debug("readings not published %s", kv(error=error))
