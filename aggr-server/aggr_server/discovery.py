"""Which markets exist: asked of the venues by REST."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import aiohttp
import msgspec

from aggr_server.exchanges.base import USD_QUOTES, Adapter, Instrument, Request
from aggr_server.gateway import through_gateway
from aggr_server.transport import explain_status, retry_after_s

KINDS = ("spot", "perp")
MAX_PAGES = 50


class DiscoveryFailed(Exception):
    """The venue did not answer, or not as documented. `retry_after_s`: what it asks to wait."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


async def discover(
    adapter: Adapter, session: aiohttp.ClientSession, gateway: str = ""
) -> list[Instrument]:
    """Every instrument of a venue that is being traded. Raises `DiscoveryFailed`."""
    found: list[Instrument] = []
    for first in adapter.discovery:
        request: Request | None = first
        pages = 0
        while request and pages < MAX_PAGES:
            body = await _ask(session, request, gateway)
            try:
                page = adapter.instruments(body)
            except (msgspec.MsgspecError, ValueError) as error:
                raise DiscoveryFailed(f"{request.url}: answer not understood: {error}") from error
            found += page.instruments
            request, pages = page.next, pages + 1
    return found


def by_symbols(instruments: Iterable[Instrument], symbols: Sequence[str]) -> list[Instrument]:
    """Spot and perpetual markets of the coins `symbols` against any dollar."""
    wanted = {symbol.upper() for symbol in symbols}
    return [
        i for i in instruments if i.base in wanted and i.quote in USD_QUOTES and i.kind in KINDS
    ]


def by_names(
    adapter: Adapter, instruments: Iterable[Instrument], markets: Sequence[str]
) -> list[Instrument]:
    """Exactly the markets named, as far as the venue has them and they are quoted in dollars."""
    wanted = set(markets)
    return [i for i in instruments if adapter.market(i) in wanted and i.quote in USD_QUOTES]


async def _ask(session: aiohttp.ClientSession, request: Request, gateway: str) -> bytes:
    url = through_gateway(request.url, gateway)
    headers = {"Content-Type": "application/json"} if request.body else None
    try:
        async with session.request(
            request.method, url, data=request.body or None, headers=headers
        ) as response:
            if response.status == 200:
                return await response.read()
            hint = explain_status(response.status)
            reason = f"{url} answered {response.status}" + (f": {hint}" if hint else "")
            raise DiscoveryFailed(reason, retry_after_s(response.headers))
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise DiscoveryFailed(f"{url}: {str(error) or type(error).__name__}") from error
