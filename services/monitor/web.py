"""`/health` and `/metrics` for machines."""

from __future__ import annotations

import asyncio
import time
from logging import getLogger

import msgspec
from aiohttp import web
from redis.exceptions import RedisError

from aggr_server.log import kv
from services.monitor.checks import TIMEOUT_S, Checker
from services.monitor.facts import Facts, FactsReader
from services.monitor.metrics import CONTENT_TYPE, Metrics
from services.monitor.states import Overview

STALE_S = 15.0

_UNKNOWN = {"status": "unknown", "reason": "the services were not looked at lately"}
_log = getLogger(__name__)


class Health:
    """Keeps the newest overview, so that many readers cost no more than one."""

    def __init__(self, checker: Checker, facts: FactsReader | None = None) -> None:
        self._checker = checker
        self._facts = facts
        self._newest: Overview | None = None
        self._metrics = Metrics()
        self._known = False

    @property
    def status(self) -> str:
        """For the heartbeat: this service does its work whatever it finds."""
        return "ok"

    @property
    def newest(self) -> Overview | None:
        """What was seen last; None if that is too long ago to be true."""
        newest = self._newest
        if newest is None or time.time() - newest.ts_ms / 1000 > STALE_S:
            return None
        return newest

    async def round(self) -> None:
        """Look at every service once."""
        overview, facts = await asyncio.gather(self._checker.check_all(), self._read())
        self._newest, self._known = overview, True
        self._metrics.learn(overview, facts)

    async def _read(self) -> Facts | None:
        if self._facts is None:
            return None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._facts.read()
        except (RedisError, TimeoutError) as error:
            # The overview says that Redis is away.
            _log.debug("Redis not read %s", kv(error=error))
            return None

    def add_routes(self, application: web.Application) -> None:
        """Answer `/health`, `/health/SERVICE` and `/metrics`."""
        application.router.add_get("/health", self._health)
        application.router.add_get("/health/{service}", self._one)
        application.router.add_get("/metrics", self._figures)

    async def _health(self, _: web.Request) -> web.Response:
        """200 while every service works, if need be with less than all; 503 if one is down."""
        newest = self.newest
        if newest is None:
            return _answer(_UNKNOWN, 503)
        return _answer(newest, 503 if newest.any_down else 200)

    async def _one(self, request: web.Request) -> web.Response:
        """The same of one service; 404 for one that is not of this stack."""
        newest = self.newest
        if newest is None:
            return _answer(_UNKNOWN, 503)
        name = request.match_info["service"]
        service = newest.services.get(name)
        if service is None:
            known = ", ".join(newest.services)
            reason = f"no service is called {name}; there are {known}"
            return _answer({"status": "unknown", "reason": reason}, 404)
        return _answer(service, 503 if service.state == "down" else 200)

    async def _figures(self, _: web.Request) -> web.Response:
        """What is known, for Prometheus; always 200, since a scrape that fails tells nothing."""
        if self._known and self.newest is None:
            self._metrics.learn(None, None)
            self._known = False
        return web.Response(
            body=self._metrics.text(),
            headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"},
        )


def _answer(document: object, status: int) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(document),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
