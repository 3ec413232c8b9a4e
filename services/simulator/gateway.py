"""One HTTP server in front of all venues."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from aggr_server import clock
from services.simulator.control import Control
from services.simulator.fault_plan import Hang, Status
from services.simulator.faults import Faults
from services.simulator.venues import Venue
from services.simulator.venues.base import json_response

_LOOK_AGAIN_S = 0.5


def application(venues: Sequence[Venue], control: Control, faults: Faults) -> web.Application:
    """Every venue under `/HOST/...`, and the simulator's own interface."""
    app = web.Application(middlewares=[_door(venues, faults)])
    for venue in venues:
        app.add_routes(venue.routes())
    app.add_routes(control.routes())
    app.router.add_route("*", "/{tail:.*}", _not_simulated)
    return app


def _door(venues: Sequence[Venue], faults: Faults) -> Middleware:
    venue_of = {
        route.path.split("/")[1]: venue.name for venue in venues for route in venue.routes()
    }

    @web.middleware
    async def pass_door(request: web.Request, handler: Handler) -> web.StreamResponse:
        venue = venue_of.get(request.path.split("/", 2)[1])
        if venue is None:
            return await handler(request)
        rest = "Upgrade" not in request.headers
        if fault := faults.at_door(venue, rest=rest):
            if isinstance(fault, Status):
                return _status(fault)
            while isinstance(fault, Hang) and faults.hanging(venue, rest=rest):
                await clock.sleep(_LOOK_AGAIN_S)
            if request.transport:
                request.transport.abort()
            return web.Response()
        if rest and (latency_ms := faults.rest_latency_ms(venue)):
            await clock.sleep(latency_ms / 1000)
        return await handler(request)

    return pass_door


def _status(fault: Status) -> web.Response:
    response = json_response({"error": "refused on purpose"}, fault.status)
    if fault.retry_after_s:
        response.headers["Retry-After"] = str(fault.retry_after_s)
    return response


async def _not_simulated(request: web.Request) -> web.Response:
    return json_response({"error": f"{request.path} is not simulated"}, 404)
