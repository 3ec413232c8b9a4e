"""`/health` for machines, `/` for people."""

from __future__ import annotations

import html
import time

import msgspec
from aiohttp import web

from services.monitor.checks import Checker
from services.monitor.states import Overview, ServiceState

STALE_S = 15.0

_STYLE = (
    "body{background:#14171c;color:#cdd3da;font:15px/1.5 system-ui,sans-serif;margin:2rem}"
    "table{border-collapse:collapse}td,th{padding:.3rem 1.2rem .3rem 0;text-align:left;"
    "vertical-align:top}th{color:#8b95a1;font-weight:normal}.up{color:#5fb3a1}"
    ".degraded{color:#e0b050}.down{color:#f07f6e}"
)


class Health:
    """Keeps the newest overview, so that many readers cost no more than one."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._newest: Overview | None = None

    @property
    def status(self) -> str:
        """For the heartbeat: this service does its work whatever it finds."""
        return "ok"

    async def round(self) -> None:
        """Look at every service once."""
        self._newest = await self._checker.check_all()

    def add_routes(self, application: web.Application) -> None:
        """Answer `/health`."""
        application.router.add_get("/health", self._health)

    def application(self) -> web.Application:
        """The pages, where no other page is built around them."""
        application = web.Application()
        self.add_routes(application)
        application.router.add_get("/", self._page)
        return application

    async def _health(self, _: web.Request) -> web.Response:
        """200 while every service works, if need be with less than all; 503 if one is down."""
        newest = self._newest
        if newest is None or time.time() - newest.ts_ms / 1000 > STALE_S:
            reason = {"status": "unknown", "reason": "the services were not looked at lately"}
            return web.json_response(reason, status=503)
        return web.Response(
            body=msgspec.json.encode(newest),
            status=503 if newest.any_down else 200,
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=page(self._newest), content_type="text/html")


def page(newest: Overview | None) -> str:
    """The overview as HTML; everything that comes from outside is escaped."""
    if newest is None:
        status, rows = "unknown", ""
    else:
        status = newest.status
        rows = "".join(_row(name, service) for name, service in newest.services.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="refresh" content="5"><title>SqueezeFlow Trader</title>'
        f"<style>{_STYLE}</style></head><body><h1>System {html.escape(status)}</h1>"
        "<table><thead><tr><th>Service</th><th>State</th><th>Age</th><th>Detail</th>"
        f"<th>Remedy</th></tr></thead><tbody>{rows}</tbody></table></body></html>"
    )


def _row(name: str, service: ServiceState) -> str:
    age = "" if service.age_ms is None else f"{service.age_ms / 1000:.1f} s"
    return (
        f'<tr><td>{html.escape(name)}</td><td class="{service.state}">{service.state}</td>'
        f"<td>{age}</td><td>{html.escape(service.detail)}</td>"
        f"<td>{html.escape(service.remedy)}</td></tr>"
    )
