"""The life of a service: settings, logging, signals, heartbeat, a clean end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from logging import getLogger
from pathlib import Path
from typing import TypeVar

import msgspec
import uvloop
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server import log
from aggr_server.env import SettingsError, load
from aggr_server.log import kv
from services.core import names
from services.core.liveness import identity
from services.core.records import Heartbeat
from services.core.settings import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)

BAD_SETTINGS_EXIT = 78  # EX_CONFIG of sysexits.h

_log = getLogger(__name__)


def run(
    service: str, settings_type: type[S], main: Callable[[S, asyncio.Event], Awaitable[None]]
) -> None:
    """Run `main(settings, stop)` until it returns; `stop` is set by SIGTERM or SIGINT.

    Ends the process with status 78 if a setting is wrong (`main` may raise `SettingsError` too),
    and with 1 if `main` raises, so that whatever supervises the process starts it again.
    """
    try:
        settings = load(settings_type)
        log.setup(service, getattr(settings, "squeezeflow_log_level", settings.log_level))
        uvloop.run(_until_stopped(service, settings, main))
    except SettingsError as error:
        for line in str(error).splitlines():
            print(f"{service}: {line}", file=sys.stderr)
        sys.exit(BAD_SETTINGS_EXIT)


async def _until_stopped(
    service: str, settings: S, main: Callable[[S, asyncio.Event], Awaitable[None]]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _log.info("started %s", kv(pid=os.getpid()))
    await main(settings, stop)
    _log.info("stopped")


class Pulse:
    """Signs of life: a file for the container's health check, and a key and message in Redis.

    Call `beat` from the work loop itself, so that a loop that hangs falls silent.
    """

    EVERY_S = 5.0

    def __init__(self, service: str, settings: ServiceSettings, redis: Redis | None) -> None:
        self._service = service
        self._redis = redis
        self._file = heartbeat_file(settings, service)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._due = 0.0
        self._sending: asyncio.Task[None] | None = None
        self._unheard = False
        self._signed = False

    @property
    def due(self) -> bool:
        """Whether the next `beat` tells Redis, so that its details matter."""
        return self._redis is not None and time.monotonic() >= self._due

    def beat(
        self, cycle_ms: float, *, status: str = "ok", details: dict[str, object] | None = None
    ) -> None:
        """Touch the file; every 5 s also tell Redis, without waiting for it.

        Redis being away or hanging is no failure here: the file goes on telling.
        """
        if not self._signed:
            self._sign()
        self._file.touch()
        if self._redis is None or not self.due or not self._sent():
            return
        self._due = time.monotonic() + self.EVERY_S
        record = Heartbeat(
            service=self._service,
            ts_ms=time.time_ns() // 1_000_000,
            pid=os.getpid(),
            cycle_ms=cycle_ms,
            status=status,
            details=details or {},
        )
        self._sending = asyncio.create_task(self._send(self._redis, msgspec.json.encode(record)))

    def _sign(self) -> None:
        """Let the health check know whose file it is."""
        try:
            self._file.write_text(identity(), encoding="ascii")
        except OSError:
            return  # a full disk; to touch the file needs no room
        self._signed = True

    def _sent(self) -> bool:
        """Whether the last message has left. Raises what only a bug can have raised."""
        if self._sending is not None:
            if not self._sending.done():
                return False
            self._sending.result()
            self._sending = None
        return True

    async def _send(self, redis: Redis, record: bytes) -> None:
        try:
            await self._tell(redis, record)
        except RedisError as error:
            if not self._unheard:
                self._unheard = True
                _log.warning("heartbeats do not reach Redis %s", kv(error=error))
        else:
            self._unheard = False

    async def _tell(self, redis: Redis, record: bytes) -> None:
        async with redis.pipeline(transaction=False) as pipe:
            pipe.set(names.heartbeat(self._service), record, ex=names.HEARTBEAT_TTL_S)
            pipe.publish(names.HEARTBEAT_CHANNEL, record)
            await pipe.execute()


def heartbeat_file(settings: ServiceSettings, service: str) -> Path:
    """The file whose modification time is the service's last sign of life."""
    return Path(settings.heartbeat_dir) / f"{service}.alive"


def ready_file(settings: ServiceSettings, service: str) -> Path:
    """The file that says since a service's start that it could do its work."""
    return Path(settings.heartbeat_dir) / f"{service}.ready"


async def sleep_or_stop(stop: asyncio.Event, seconds: float) -> bool:
    """Wait; True if `stop` was set meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True
