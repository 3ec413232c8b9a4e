"""One HTTP server in front of all venues."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from services.simulator.control import Control
from services.simulator.venues import Venue
from services.simulator.venues.base import json_response


def application(venues: Sequence[Venue], control: Control) -> web.Application:
    """Every venue under `/HOST/...`, and the simulator's own interface."""
    app = web.Application()
    for venue in venues:
        app.add_routes(venue.routes())
    app.add_routes(control.routes())
    app.router.add_route("*", "/{tail:.*}", _not_simulated)
    return app


async def _not_simulated(request: web.Request) -> web.Response:
    return json_response({"error": f"{request.path} is not simulated"}, 404)
