"""The collector over HTTP: what the aggr charting client asks for, markets, health, metrics."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from logging import getLogger
from urllib.parse import unquote

import msgspec
from aiohttp import web

from aggr_server import clock
from aggr_server.collector import Collector
from aggr_server.figures import watch
from aggr_server.health import health, markets
from aggr_server.history import COLUMNS, History, timeframe_of
from aggr_server.influx import InfluxError, InfluxUnavailable
from aggr_server.log import kv
from aggr_server.throttle import Occasionally

MAX_BARS = 100_000
DEFAULT_TIMEFRAME_MS = 60_000
MAX_TIME_MS = 9_000_000_000_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = getLogger(__name__)


class Api:
    """Handlers of one collector."""

    def __init__(self, collector: Collector, history: History) -> None:
        self._collector = collector
        self._history = history
        self._complain = Occasionally(30.0)

    def app(self) -> web.Application:
        """The application to serve."""
        watch(self._collector)
        app = web.Application(middlewares=[_answer_everyone])
        app.router.add_get("/", self._root)
        app.router.add_get("/products", self._products)
        app.router.add_get("/markets", self._markets)
        app.router.add_get("/historical/{rest:.*}", self._historical)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _root(self, _: web.Request) -> web.Response:
        return _json({"message": "hi"})

    async def _products(self, _: web.Request) -> web.Response:
        return _json(sorted(self._collector.records()))

    async def _markets(self, _: web.Request) -> web.Response:
        return _json(markets(self._collector))

    async def _health(self, _: web.Request) -> web.Response:
        answer = health(self._collector)
        return _json(answer, 503 if answer["status"] == "failed" else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._collector.metrics.text(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def _historical(self, request: web.Request) -> web.Response:
        """`/historical/{from}/{to}/{timeframe}/{markets}`; times in ms, markets joined by `+`."""
        parts = [*request.raw_path.partition("?")[0].split("/")[2:], "", "", "", ""][:4]
        from_ms, to_ms = _whole(parts[0]), _whole(parts[1])
        if from_ms is None or to_ms is None:
            return _error(400, "missing interval")
        if from_ms > to_ms:
            return _error(400, "from > to")
        length_ms = _whole(parts[2]) or DEFAULT_TIMEFRAME_MS
        if (to_ms - from_ms) / length_ms > MAX_BARS:
            return _error(400, "too many bars")
        timeframe = timeframe_of(length_ms)
        if timeframe is None:
            return _error(400, f"no bars of {length_ms} ms are stored")
        if to_ms > MAX_TIME_MS:
            return _error(400, "times are in milliseconds")
        # The client encodes the list as a whole, its plus signs included.
        names = [name for part in unquote(parts[3]).split("+") if (name := part.strip())]
        recent = self._collector.builder.recent(
            -(-from_ms // 1000), -(-to_ms // 1000), names or None
        )
        try:
            results = await self._history.fetch(
                timeframe, from_ms, to_ms, names, clock.now_ms(), recent
            )
        except (InfluxError, InfluxUnavailable) as error:
            if self._complain():
                _log.warning("history not answered %s", kv(error=error))
            return _error(500, str(error))
        columns = {name: index for index, name in enumerate(COLUMNS)} if results else {}
        return _json({"format": "point", "columns": columns, "results": results})


@web.middleware
async def _answer_everyone(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let any page read the answers, errors included: charts run elsewhere than the collector."""
    if request.method == "OPTIONS":
        response: web.StreamResponse = web.Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = "GET,HEAD"
        asked = request.headers.get("Access-Control-Request-Headers")
        if asked:
            response.headers["Access-Control-Allow-Headers"] = asked
    else:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = _error(error.status, error.reason.lower())
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


def _whole(text: str) -> int | None:
    # As lenient as parseInt of the original: leading digits count.
    found = re.match(r"\s*-?\d{1,18}", text)
    return int(found[0]) if found else None


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json"
    )


def _error(status: int, text: str) -> web.Response:
    return _json({"error": text}, status)
