"""A backup each day and a test of one each week: `python -m scripts.backup.service`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from logging import getLogger
from pathlib import Path
from typing import Literal

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable
from aggr_server.log import kv
from scripts.backup import selftest, shelf
from scripts.backup.jobs import ONLY_HERE_EXIT
from services.core import alerts, names, service
from services.core.clients import redis_client
from services.core.points import line
from services.core.records import Alert
from services.core.rounds import repeat
from services.core.service import Pulse
from services.core.settings import BackupSettings

NAME = "backup"
ROOT = Path(__file__).resolve().parents[2]
ROUND_S = 30.0
RETRY_S = 1800.0
"""After a failure; the alert is told once, until it goes well again."""
LIMIT_S = 12 * 3600.0
UNREACHABLE_S = 300.0
"""This container lives in InfluxDB's network, which a restart of InfluxDB replaces: only a start
of its own brings it into the new one."""
NICE = 10

Level = Literal["info", "warning", "critical"]
LEVELS: dict[str, Level] = {
    "backup_failed": "warning",
    "backup_only_here": "warning",
    "backup_test_failed": "critical",
}

_log = getLogger(__name__)


def due(newest: datetime | None, at: str, now: datetime) -> bool:
    """Whether a backup is to be made: the last one was begun before the last HH:MM (UTC) that has
    passed. So one that was missed is made up for, and the first is made at once."""
    hour, minute = map(int, at.split(":"))
    last = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if last > now:
        last -= timedelta(days=1)
    return newest is None or newest < last


def test_due(last: selftest.Result | None, every_days: int, now: datetime) -> bool:
    """Whether a backup is to be tested."""
    if not every_days:
        return False
    return last is None or now - datetime.fromisoformat(last.at) >= timedelta(days=every_days)


class Scheduler:
    """Looks every half a minute whether something is due, and does it. See `rounds.Work`."""

    def __init__(
        self, settings: BackupSettings, redis: Redis, influx: InfluxClient,
        environ: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._settings, self._redis, self._influx = settings, redis, influx
        self._environ = {**environ, "PYTHONUNBUFFERED": "1"}
        self._folder = ROOT / settings.backup_dir
        self._not_before = {"create": 0.0, "test": 0.0}
        self._told: dict[str, str] = {}
        self._reached = time.monotonic()
        self._doing = ""

    @property
    def status(self) -> str:
        """For the heartbeat."""
        wrong = [code for code in self._told.values() if code]
        return " and ".join(wrong) or "ok"

    @property
    def details(self) -> dict[str, object]:
        """For the heartbeat: what is under way."""
        return {"doing": self._doing}

    async def round(self) -> None:
        """Raises `InfluxUnavailable` if InfluxDB has been out of reach for too long."""
        await self._require_influx()
        now = datetime.now(UTC)
        found = await asyncio.to_thread(shelf.complete, self._folder)
        newest = found[-1][0] if found else None
        if self._may("create") and due(newest, self._settings.backup_at, now):
            await self._do("create")
        elif found and self._may("test"):
            last = await asyncio.to_thread(selftest.last, self._folder)
            if test_due(last, self._settings.backup_test_days, now):
                await self._do("test")

    async def _require_influx(self) -> None:
        try:
            await self._influx.ping()
        except (InfluxUnavailable, InfluxError):
            if time.monotonic() - self._reached > UNREACHABLE_S:
                _log.error("InfluxDB stays out of reach; a new start may find it")
                raise
        else:
            self._reached = time.monotonic()

    def _may(self, what: str) -> bool:
        return time.monotonic() >= self._not_before[what]

    async def _do(self, what: str) -> None:
        self._doing, began = what, time.monotonic()
        _log.info("begins %s", kv(what=what, folder=self._folder))
        try:
            status, said = await self._run(what)
        finally:
            self._doing = ""
        took_s = time.monotonic() - began
        if status == 0:
            _log.info("complete %s", kv(what=what, took_s=f"{took_s:.1f}", said=said))
        else:
            _log.error("failed %s", kv(what=what, status=status, said=said))
            if status != ONLY_HERE_EXIT:
                self._not_before[what] = time.monotonic() + RETRY_S
        await self._store(what, status, took_s)
        await self._tell(what, status, said)

    async def _run(self, what: str) -> tuple[int, str]:
        """A process of its own, in a group of its own, that gives way to all others."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "scripts.backup.here", what,
            cwd=ROOT, env=self._environ, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
        assert process.stderr is not None
        said: list[str] = []
        try:
            while line := await process.stderr.readline():
                text = line.decode(errors="replace").rstrip()
                said = [*said[-9:], text]
                _log.info("progress %s", kv(what=what, text=text))
            return await process.wait(), "\n".join(said[-5:])
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()

    async def _tell(self, what: str, status: int, said: str) -> None:
        """An alert when it fails in a new way, and one when it goes well again."""
        title = {"create": "the backup", "test": "the test of the newest backup"}[what]
        code, before = alert_code(what, status), self._told.get(what, "")
        if code == before:
            return
        now_ms = time.time_ns() // 1_000_000
        told = []
        if before:
            text = f"{title} no longer fails in this way"
            told.append(
                Alert(
                    level="info",
                    code=before,
                    subject=NAME,
                    text=text,
                    ts_ms=now_ms,
                    ended_level=LEVELS[before],
                )
            )
        if code:
            text = f"{title} failed: {said}"
            told.append(Alert(level=LEVELS[code], code=code, subject=NAME, text=text, ts_ms=now_ms))
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for alert in told:
                    alerts.tell(pipe, msgspec.json.encode(alert))
                await pipe.execute()
        except RedisError as error:
            _log.error("no alert told %s", kv(code=code or before, error=error))
        else:
            self._told[what] = code

    async def _store(self, what: str, status: int, took_s: float) -> None:
        fields = {"ok": status in (0, ONLY_HERE_EXIT), "status": status, "took_s": took_s}
        point = line(names.BACKUPS_MEASUREMENT, {"what": what}, fields, time.time_ns() // 1_000_000)
        try:
            await self._influx.write([point], precision="ms")
        except (InfluxUnavailable, InfluxError) as error:
            _log.warning("result not stored %s", kv(what=what, error=error))


def alert_code(what: str, status: int) -> str:
    """Of the alert for a process's exit status; empty if all is well."""
    if status == 0:
        return ""
    if what == "test":
        return "backup_test_failed"
    return "backup_only_here" if status == ONLY_HERE_EXIT else "backup_failed"


async def main(settings: BackupSettings, stop: asyncio.Event) -> None:
    """Work until `stop` is set; raises if InfluxDB stays out of reach."""
    redis = redis_client(settings)
    pulse = Pulse(NAME, settings, redis)
    try:
        async with InfluxClient(settings) as influx:
            scheduler = Scheduler(settings, redis, influx, os.environ)
            await repeat(
                scheduler, pulse, stop, ROUND_S,
                limit_s=LIMIT_S, details=lambda: scheduler.details,
            )  # fmt: skip
    finally:
        await redis.aclose()


if __name__ == "__main__":
    service.run(NAME, BackupSettings, main)
