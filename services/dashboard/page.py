"""Puts the live page together."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from aggr_server.env import SettingsError
from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable
from services.core import names
from services.core.clients import redis_client
from services.core.outage import Outage
from services.core.settings import HealthMonitorSettings
from services.dashboard.account import Account
from services.dashboard.assets import Assets
from services.dashboard.attention import Attention, WatchedChannels
from services.dashboard.audience import Audience
from services.dashboard.faults import AlertList, GapList
from services.dashboard.guard import LIVE, Guard, is_loopback
from services.dashboard.health import ServiceList
from services.dashboard.hub import Hub, now_ms
from services.dashboard.interest import Interest
from services.dashboard.live import Live
from services.dashboard.login import Login
from services.dashboard.market import MarketBlocks
from services.dashboard.past import STEPS, BadRequest, Past
from services.dashboard.protocol import Hello
from services.dashboard.signals import SignalList
from services.dashboard.stored import StoredBars
from services.dashboard.trouble import TroubleBlock, Troubles
from services.dashboard.views import NewestViews
from services.freqtrade_client import FreqtradeClient
from services.monitor.states import Overview
from services.trading.crew import Part

VERSION = "0.1.0"
QUERY_TIMEOUT_S = 20.0


class Page:
    """Its parts share one audience. `overview`: how the services are, each time it was found."""

    def __init__(
        self, settings: HealthMonitorSettings, *, now_ms: Callable[[], int] = now_ms
    ) -> None:
        self._settings = settings
        self._now_ms = now_ms
        self._login = login_of(settings)
        self._redis = redis_client(settings)
        self._listening = redis_client(settings, socket_timeout_s=None)
        self._influx = InfluxClient(settings, timeout_s=QUERY_TIMEOUT_S)
        self._freqtrade = FreqtradeClient(settings)
        self.audience = Audience()
        self._troubles = Troubles(now_ms)
        self._redis_outage = Outage("Redis", f"{settings.redis_host}:{settings.redis_port}")
        influx_outage = Outage("InfluxDB", f"{settings.influx_host}:{settings.influx_port}")
        self.hub = Hub(
            self._redis,
            self._listening,
            self._influx,
            tuple(dict.fromkeys(base.upper() for base in settings.aggr_symbols)),
            settings.squeezeflow_execution_exchange,
            redis_outage=self._redis_outage,
            influx_outage=influx_outage,
            watched=self.audience.present.is_set,
            now_ms=now_ms,
        )
        self._views = NewestViews(now_ms)
        self._market = MarketBlocks(self.audience, self.hub, self._views.newest, now_ms)
        self._make_sources()
        self.past = Past(
            self.hub.symbols,
            StoredBars(self._influx),
            self.hub.directory.of_base,
            self._markers,
            now_ms,
            lambda who, problem: self._troubles.note("InfluxDB", who, problem),
        )

    def _make_sources(self) -> None:
        audience, troubles, now_ms = self.audience, self._troubles, self._now_ms
        symbols = self.hub.symbols
        bases = {name: symbol.base for name, symbol in symbols.items()}
        self._services = ServiceList(audience)
        self._account = Account(audience, self._freqtrade, self._redis, troubles, now_ms)
        self._signals = SignalList(
            audience, self._redis, self._influx, tuple(symbols), troubles, now_ms
        )
        interest = Interest(audience, self._redis, bases, troubles, now_ms)
        gaps = GapList(audience, self._influx, self.hub.directory, bases, troubles, now_ms)
        alerts = AlertList(audience, self._redis, troubles, now_ms)
        trouble = TroubleBlock(audience, troubles, self.hub)
        self._attend = {
            name: Attention(audience, source)
            for name, source in (
                ("account", self._account),
                ("signals", self._signals),
                ("interest", interest),
                ("gaps", gaps),
                ("alerts", alerts),
                ("trouble", trouble),
            )
        }
        self._gaps = gaps
        self.hub.on_gaps = self._on_gaps
        audience.on_watch = self._on_watch
        self._channels = WatchedChannels(
            audience,
            self._listening,
            {
                names.VIEWS: self._on_views,
                names.SIGNALS_CHANNEL: self._attend["signals"].want,
                names.OI_CHANNEL: self._attend["interest"].want,
                names.ALERTS: self._attend["alerts"].want,
            },
            self._redis_outage,
            self._on_subscribed,
        )

    def overview(self, overview: Overview) -> None:
        """The services were looked at."""
        self._services.learn(overview)

    def parts(self) -> tuple[Part, ...]:
        """What has to run; whatever is away is tried again for ever."""
        return (
            *self.hub.parts(),
            self._market.run,
            self._channels.run,
            *(attention.run for attention in self._attend.values()),
        )

    def add_to(self, application: web.Application) -> None:
        """Answer `/`, `/assets/`, `/api/history`, `/live`, and the login, and guard all else."""
        assets = Assets()
        guard = Guard(self._login, assets)
        guard.add_to(application)
        live = Live(
            self.audience,
            self.hub.symbols,
            hello=self._hello,
            session=guard.session,
            logged_in=guard.logged_in,
        )

        async def index(request: web.Request) -> web.Response:
            return assets.page("index.html", request)

        async def log_out(request: web.Request) -> web.Response:
            self.audience.log_out(guard.session(request))
            return guard.log_out(request)

        async def stop(_: web.Application) -> None:
            self.audience.end()

        application.router.add_get("/", index)
        application.router.add_get("/assets/{name}", assets.handle)
        application.router.add_get("/api/history", self._history)
        application.router.add_get(LIVE, live.handle)
        application.router.add_post("/logout", log_out)
        application.on_shutdown.append(stop)

    async def close(self) -> None:
        """Close the connections."""
        await self._freqtrade.close()
        await self._influx.close()
        await self._redis.aclose()
        await self._listening.aclose()

    def _hello(self) -> Hello:
        return Hello(
            version=VERSION,
            ts_ms=self._now_ms(),
            symbols=list(self.hub.symbols),
            execution_exchange=self._settings.squeezeflow_execution_exchange,
            steps=list(STEPS),
            mode="demo" if self._settings.exchange_gateway else "live",
            real_money=self._account.real_money,
            login=self._login is not None,
        )

    async def _history(self, request: web.Request) -> web.Response:
        headers = {"Cache-Control": "no-store"}
        try:
            data = await self.past.answer(self.past.asked(request.query))
        except BadRequest as error:
            return web.Response(status=400, text=f"{error}\n", headers=headers)
        except (InfluxError, InfluxUnavailable) as error:
            return web.Response(status=503, text=f"InfluxDB: {error}\n", headers=headers)
        headers |= {"Content-Type": "application/json", "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            data = gzip.decompress(data)
        return web.Response(body=data, headers=headers)

    async def _markers(
        self, symbol: str, from_s: int, to_s: int
    ) -> Mapping[str, list[dict[str, Any]]]:
        signals = await self._signals.stored(symbol, from_s, to_s)
        trades = [
            row
            for row in self._account.rows(symbol)
            if row.opened_ms < to_s * 1000
            and (row.closed_ms is None or row.closed_ms >= from_s * 1000)
        ]
        return {"signals": _plain(signals), "trades": _plain(trades)}

    def _on_views(self, data: bytes) -> None:
        self._views.on_message(data)
        self._market.wake()

    def _on_gaps(self, gaps: Any) -> None:
        self._gaps.learn(gaps)
        self._attend["gaps"].want()

    def _on_watch(self, symbol: str) -> None:
        self._market.watched(symbol)
        self._services.show()
        for name in ("interest", "gaps"):
            self._attend[name].want()

    def _on_subscribed(self) -> None:
        for attention in self._attend.values():
            attention.want()


def login_of(settings: HealthMonitorSettings) -> Login | None:
    """Asked for where others than this machine reach the page. Raises `SettingsError` without a
    password then."""
    published_on = settings.page_published_on or (settings.bind_address,)
    others = [name for name in published_on if not is_loopback(name)]
    if not others:
        return None
    if not settings.page_password:
        raise SettingsError(
            f"PAGE_PASSWORD is not set, and the page is published on {others[0]}, where others "
            "reach it. ./scripts/up.sh makes secrets/page_password; or set BIND_ADDRESS=127.0.0.1."
        )
    return Login(settings.page_password)


def _plain(rows: Sequence[msgspec.Struct]) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(row) for row in rows]
