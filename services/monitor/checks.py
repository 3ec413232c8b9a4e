"""Each service judged by its own work: an answer it gave, or a turn of its loop."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec.structs import replace
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as NotConnected

from aggr_server import wire
from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable
from services.core import names
from services.core.records import Heartbeat
from services.core.settings import MonitorSettings
from services.monitor.states import Overview, ServiceState, overview

TIMEOUT_S = 4.0
HEARTBEAT_MAX_S = names.HEARTBEAT_TTL_S
TRADING_LOOP_MAX_S = 60
FULL = 0.95
"""Share of its memory from which on Redis counts as full."""

COLLECTOR = "aggr-server"

_REDIS_FIGURES = ("used_memory", "maxmemory")

Check = Callable[[], Awaitable[ServiceState]]


class Checker:
    """Checks the services named in the settings. Unknown names are judged by their heartbeat."""

    def __init__(self, settings: MonitorSettings, redis: Redis, influx: InfluxClient) -> None:
        self._settings = settings
        self._redis = redis
        self._influx = influx
        self._session: aiohttp.ClientSession | None = None
        self._last_seen_ms: dict[str, int] = {}
        self._further: list[str] = []
        self._checks: dict[str, Check] = {
            "redis": self._check_redis,
            "aggr-influx": self._check_influx,
            COLLECTOR: self._check_collector,
            "freqtrade": self._check_freqtrade,
            "simulator": self._check_simulator,
        }

    async def close(self) -> None:
        """Close the HTTP connections."""
        if self._session:
            await self._session.close()
            self._session = None

    def by_heartbeat(self, service: str) -> bool:
        """Whether the service is judged by the heartbeat of its loop."""
        return service not in self._checks

    async def check_all(self) -> Overview:
        """Every service of the stack; takes at most `TIMEOUT_S`, the first time twice that."""
        services = [*self._settings.stack_services, *self._further]
        states, further = await asyncio.gather(
            asyncio.gather(*map(self.check, services)), self._further_collectors()
        )
        seen = dict(zip(services, states, strict=True))
        # Only the first look does not know of them yet.
        new = [service for service in further if service not in seen]
        seen.update(zip(new, await asyncio.gather(*map(self.check, new)), strict=True))
        self._further = further
        return overview(
            {name: seen[name] for name in (*self._settings.stack_services, *further)}, _now_ms()
        )

    async def _further_collectors(self) -> list[str]:
        """Where several collectors share the markets, those beyond the first, as it or the second
        tells; what was told last while neither can be asked."""
        if COLLECTOR not in self._settings.stack_services:
            return []
        keys = (wire.HEARTBEAT_KEY, f"{wire.HEARTBEAT_KEY}-2")
        try:
            async with asyncio.timeout(TIMEOUT_S):
                beats = await self._redis.mget(keys)
            told = [msgspec.json.decode(beat, type=Heartbeat) for beat in beats if beat is not None]
        except (RedisError, TimeoutError, msgspec.MsgspecError):
            return self._further  # what is wrong shows where each of them is checked
        told = [beat for beat in told if "shards" in beat.details]
        if not told:
            return self._further
        count = int(max(told, key=lambda beat: beat.ts_ms).details["shards"])
        further = (f"{COLLECTOR}-{index}" for index in range(2, count + 1))
        return [name for name in further if name not in self._settings.stack_services]

    async def check(self, service: str) -> ServiceState:
        """One service; never raises for one that is down."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if self.by_heartbeat(service):
                    return await self._check_heartbeat(service)
                return await self._checks[service]()
        except TimeoutError:
            return self._down(service, f"no answer within {TIMEOUT_S:g} s")

    async def _check_redis(self) -> ServiceState:
        start = time.perf_counter()
        try:
            await self._redis.ping()
            persistence: dict[str, Any] = await self._redis.info("persistence")
            memory: dict[str, Any] = await self._redis.info("memory")
        except AuthenticationError as error:
            return self._down("redis", f"login refused: {error}", "correct REDIS_PASSWORD")
        except NotConnected:
            address = f"{self._settings.redis_host}:{self._settings.redis_port}"
            return self._down("redis", f"cannot connect to {address}")
        except RedisError as error:
            return self._down("redis", _text(error))
        took_ms = _since_ms(start)
        figures = {name: memory[name] for name in _REDIS_FIGURES if name in memory}
        if persistence.get("aof_last_write_status", "ok") != "ok":
            return _degraded(
                "the append-only file cannot be written", "free disk space for Redis' data"
            )
        if memory["used_memory"] > FULL * (memory.get("maxmemory") or math.inf):
            return _degraded(
                f"its memory of {memory['maxmemory'] / 1e6:.0f} MB is full, keys are thrown out",
                "raise REDIS_MAXMEMORY, or find out with redis-cli --bigkeys what fills it",
            )
        state = _up(f"answered in {took_ms:.1f} ms")
        return replace(state, answer_ms=took_ms, figures=figures)

    async def _check_influx(self) -> ServiceState:
        start = time.perf_counter()
        try:
            rows = await self._influx.query("SHOW DATABASES")
        except InfluxUnavailable as error:
            return self._down("aggr-influx", _text(error))
        except InfluxError as error:
            return self._down("aggr-influx", _text(error), "correct INFLUX_PASSWORD")
        took_ms = _since_ms(start)
        database = self._settings.influx_database
        if database not in {row["name"] for row in rows}:
            return _degraded(
                f"database {database} does not exist", "run python -m services.influx_init"
            )
        return replace(_up(f"answered a query in {took_ms:.1f} ms"), answer_ms=took_ms)

    async def _check_collector(self) -> ServiceState:
        return await self._check_page(COLLECTOR, f"{self._settings.aggr_server_url}/health")

    async def _check_simulator(self) -> ServiceState:
        gateway = self._settings.exchange_gateway
        if not gateway:
            return _degraded("EXCHANGE_GATEWAY is empty", "set it to the simulator's address")
        return await self._check_page("simulator", f"{gateway}/health")

    async def _check_page(self, service: str, url: str) -> ServiceState:
        start = time.perf_counter()
        status, document = await self._get(url)
        if status == 0:
            return self._down(service, document)
        took_ms = _since_ms(start)
        summary = _summary(document)
        if status != 200:
            return self._down(service, summary or f"its health page answers {status}")
        if isinstance(document, dict) and document.get("status") == "degraded":
            return replace(_degraded(summary, self._look(service)), answer_ms=took_ms)
        state = _up(f"its health page answers {summary or 'well'}")
        return replace(state, answer_ms=took_ms)

    async def _check_freqtrade(self) -> ServiceState:
        base = f"{self._settings.freqtrade_api_url.rstrip('/')}/api/v1"
        start = time.perf_counter()
        status, document = await self._get(f"{base}/ping")
        took_ms = _since_ms(start)
        if status != 200:
            return self._down("freqtrade", document if status == 0 else f"ping answers {status}")
        status, document = await self._get(f"{base}/health", login=True)
        if status == 401:
            return _degraded("login refused", "correct FREQTRADE_API_PASSWORD")
        last = document.get("last_process_ts") if isinstance(document, dict) else None
        if status != 200 or not isinstance(last, (int, float)):
            return _degraded("its trading loop has not turned yet", self._look("freqtrade"))
        age_ms = max(0, _now_ms() - int(last * 1000))
        if age_ms > TRADING_LOOP_MAX_S * 1000:
            return ServiceState(
                state="down",
                age_ms=age_ms,
                detail=f"its trading loop stands still for {age_ms // 1000} s",
                remedy=self._look("freqtrade"),
            )
        return replace(_up("its trading loop turns", age_ms), answer_ms=took_ms)

    async def _check_heartbeat(self, service: str) -> ServiceState:
        try:
            # A frozen Redis must leave time for the file.
            async with asyncio.timeout(TIMEOUT_S / 2):
                data = await self._redis.get(names.heartbeat(service))
        except (RedisError, TimeoutError):
            return self._check_file(service)
        if data is None:
            last = self._last_seen_ms.get(service)
            age_ms = None if last is None else _now_ms() - last
            seen = "none was ever seen" if age_ms is None else f"the last {age_ms // 1000} s ago"
            return self._down(service, f"no heartbeat, {seen}", age_ms=age_ms)
        try:
            beat = msgspec.json.decode(data, type=Heartbeat)
        except msgspec.MsgspecError as error:
            return _degraded(f"heartbeat not readable: {error}", self._look(service))
        self._last_seen_ms[service] = beat.ts_ms
        age_ms = max(0, _now_ms() - beat.ts_ms)
        if age_ms > HEARTBEAT_MAX_S * 1000:
            return self._down(service, f"last heartbeat {age_ms // 1000} s ago", age_ms=age_ms)
        if beat.status != "ok":
            return ServiceState(
                state="degraded",
                age_ms=age_ms,
                detail=beat.status,
                remedy=self._look(service),
                figures=beat.details,
                cycle_ms=beat.cycle_ms,
            )
        turning = _up(f"its loop turns in {beat.cycle_ms:.1f} ms", age_ms)
        return replace(turning, figures=beat.details, cycle_ms=beat.cycle_ms)

    def _check_file(self, service: str) -> ServiceState:
        """Redis is away: the heartbeat file tells, where services share a host."""
        path = Path(self._settings.heartbeat_dir) / f"{service}.alive"
        try:
            age_ms = max(0, int((time.time() - path.stat().st_mtime) * 1000))
        except OSError:
            return _degraded("not known while Redis is down", "see redis")
        if age_ms > HEARTBEAT_MAX_S * 1000:
            return self._down(service, f"last turned {age_ms // 1000} s ago", age_ms=age_ms)
        return ServiceState(
            state="degraded", age_ms=age_ms, detail="turns, without Redis", remedy="see redis"
        )

    async def _get(self, url: str, *, login: bool = False) -> tuple[int, Any]:
        """HTTP status and document; status 0 and the reason if there is no answer."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        headers = {}
        if login:
            headers["Authorization"] = aiohttp.encode_basic_auth(
                self._settings.freqtrade_api_username, self._settings.freqtrade_api_password
            )
        try:
            async with self._session.get(url, headers=headers) as response:
                try:
                    return response.status, msgspec.json.decode(await response.read())
                except msgspec.DecodeError:
                    return response.status, None
        except aiohttp.ClientError as error:
            return 0, _text(error)

    def _down(
        self, service: str, detail: str, remedy: str = "", *, age_ms: int | None = None
    ) -> ServiceState:
        return ServiceState(
            state="down", age_ms=age_ms, detail=detail, remedy=remedy or self._look(service)
        )

    def _look(self, service: str) -> str:
        socket = self._settings.supervisor_socket
        if socket:
            return f"see {Path(socket).parent.parent / 'log' / service}.log"
        return f"see docker compose logs {service}"


def _up(detail: str, age_ms: int = 0) -> ServiceState:
    return ServiceState(state="up", age_ms=age_ms, detail=detail)


def _degraded(detail: str, remedy: str) -> ServiceState:
    return ServiceState(state="degraded", age_ms=None, detail=detail, remedy=remedy)


def _summary(document: Any) -> str:
    """What a health page says of itself, its `problems` first."""
    if not isinstance(document, dict):
        return ""
    problems = document.get("problems")
    if isinstance(problems, list) and problems:
        return "; ".join(map(str, problems))[:200]
    return str(document.get("reason") or document.get("status") or "")[:200]


def _text(error: BaseException) -> str:
    for one in (error, error.__cause__):
        if isinstance(one, aiohttp.ClientConnectorError):
            reason = os.strerror(one.os_error.errno) if one.os_error.errno else "no such host"
            return f"cannot connect to {one.host}:{one.port} ({reason})"
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def _since_ms(start: float) -> float:
    return (time.perf_counter() - start) * 1000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
