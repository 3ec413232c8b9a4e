"""Where to connect: a channel's URL, or the one its entrance tells for each connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import aiohttp
import msgspec

from aggr_server import clock
from aggr_server.exchanges.base import UNREADABLE, Adapter, Request
from aggr_server.gateway import through_gateway
from aggr_server.transport import Refused, retry_after_s

ANSWER_WITHIN_S = 10.0

Ask = Callable[[Request], Awaitable[bytes]]
"""Sends a REST request as it stands and returns the body of a good answer; raises `Refused`."""


def asking(session: aiohttp.ClientSession) -> Ask:
    """An `Ask` over `session`, which stays the caller's."""

    async def ask(request: Request) -> bytes:
        headers = {"Content-Type": "application/json"} if request.body else None
        try:
            async with (
                clock.timeout(ANSWER_WITHIN_S),
                session.request(
                    request.method, request.url, data=request.body or None, headers=headers
                ) as response,
            ):
                if response.status == 200:
                    return await response.read()
                raise Refused(
                    f"{request.url} answered HTTP {response.status}",
                    status=response.status,
                    retry_after_s=retry_after_s(response.headers),
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Refused(f"{request.url}: {str(error) or type(error).__name__}") from error

    return ask


async def address(adapter: Adapter, channel: str, gateway: str, ask: Ask | None) -> str:
    """The URL to connect to now, through the gateway. Raises `Refused`."""
    facts = adapter.channels[channel]
    if facts.entrance is None:
        return through_gateway(facts.url, gateway)
    if ask is None:
        raise Refused(f"{adapter.name}/{channel} has an entrance and nobody to ask there")
    url = through_gateway(facts.entrance.url, gateway)
    body = await ask(msgspec.structs.replace(facts.entrance, url=url))
    try:
        return through_gateway(adapter.entered(channel, body), gateway)
    except UNREADABLE as error:
        raise Refused(f"{url}: answer not understood: {error}") from error
