"""Which markets exist: asked of the venues by REST, again each day, remembered on disk."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from logging import getLogger
from typing import NamedTuple

from aggr_server import ccxt_markets, clock, exchanges
from aggr_server.exchanges.base import UNREADABLE, USD_QUOTES, Adapter, Instrument, Request
from aggr_server.instruments import InstrumentCache
from aggr_server.log import kv
from aggr_server.rest import Rest, RestFailed
from aggr_server.settings import CollectorSettings
from aggr_server.throttle import Backoff, Occasionally

KINDS = ("spot", "perp")
MAX_PAGES = 50
EVERY_S = 86_400.0
PATIENCE_S = 3.0
LONGEST_S = 300.0

_log = getLogger(__name__)


class Incomplete(RestFailed):
    """Some of a venue's lists could not be had; `found` is in the others."""

    def __init__(self, cause: RestFailed, found: list[Instrument]) -> None:
        super().__init__(str(cause), retry_after_s=cause.retry_after_s)
        self.found = found


async def discover(adapter: Adapter, rest: Rest) -> list[Instrument]:
    """Every instrument of a venue that is being traded. Raises `RestFailed`, `Incomplete`."""
    found: list[Instrument] = []
    failure: RestFailed | None = None
    for first in adapter.discovery:
        try:
            found += [i async for i in _pages(adapter, rest, first)]
        except RestFailed as error:
            failure = failure or error
    if failure is not None:
        raise Incomplete(failure, found) if found else failure
    return found


async def _pages(adapter: Adapter, rest: Rest, first: Request) -> AsyncIterator[Instrument]:
    request: Request | None = first
    pages = 0
    while request and pages < MAX_PAGES:
        body = await rest.ask(request)
        try:
            page = adapter.instruments(body)
        except UNREADABLE as error:
            raise RestFailed(f"{request.url}: answer not understood: {error}") from error
        for instrument in page.instruments:
            yield instrument
        request, pages = page.next, pages + 1


class Listing(NamedTuple):
    """What a venue lists; not `whole`: some of its lists could not be had."""

    instruments: list[Instrument]
    whole: bool = True


async def listings(
    adapter: Adapter,
    rest: Rest,
    cache: InstrumentCache,
    on_failure: Callable[[str], None],
) -> AsyncIterator[Listing]:
    """What a venue lists, for ever: as soon as it is known, and anew each day.

    If the venue does not answer the first time, what the disk remembers comes first; it also stands
    in for lists that could not be had. `on_failure` is told afterwards why there is nothing newer.
    """
    backoff = Backoff(base_s=2.0, cap_s=300.0)
    complain = Occasionally(60.0)
    remembered = cache.load(adapter.name)
    known = remembered.instruments if remembered else []
    while True:
        try:
            # Who remembers what was listed need not wait long for a venue that hangs.
            async with clock.timeout(PATIENCE_S if remembered else LONGEST_S):
                found = await discover(adapter, rest)
        except (RestFailed, TimeoutError) as error:
            reason = str(error) or "no answer"
            delay_s = max(backoff.next(), getattr(error, "retry_after_s", 0.0))
            if complain():
                _log.warning(
                    "markets not listed %s",
                    kv(exchange=adapter.name, error=reason, retry_s=round(delay_s, 1)),
                )
            if isinstance(error, Incomplete):
                yield Listing(_with(error.found, known), whole=bool(known))
            elif remembered:
                age_h = round((clock.now_ms() - remembered.asked_ms) / 3_600_000, 1)
                _log.warning("markets taken from disk %s", kv(exchange=adapter.name, age_h=age_h))
                yield Listing(remembered.instruments)
            on_failure(reason)
            if remembered is None or isinstance(error, Incomplete):
                await clock.sleep(delay_s)
        else:
            backoff.reset()
            known = found
            await asyncio.to_thread(cache.save, adapter.name, found, clock.now_ms())
            yield Listing(found)
            await clock.sleep(EVERY_S * random.uniform(0.9, 1.1))
        remembered = None


def _with(found: list[Instrument], known: Iterable[Instrument]) -> list[Instrument]:
    """`found`, and of what is known what it does not tell."""
    told = {instrument.symbol for instrument in found}
    return [*found, *(instrument for instrument in known if instrument.symbol not in told)]


class Selection:
    """The markets the settings ask for. Raises `ValueError` naming the setting at fault."""

    def __init__(self, settings: CollectorSettings) -> None:
        self._symbols = {symbol.upper() for symbol in settings.aggr_symbols}
        self._markets = set(canonical(settings.aggr_markets))

    def of(self, adapter: Adapter, found: Iterable[Instrument]) -> list[Instrument]:
        """Those of `found` that are wanted, quoted in dollars and of known contract size."""
        chosen = [i for i in found if i.quote in USD_QUOTES and self._wants(adapter, i)]
        unknown = [i for i in chosen if i.contract_size is None]
        if unknown:
            _log.warning(
                "markets left out, their contract size is not known %s",
                kv(markets=",".join(adapter.market(i) for i in unknown)),
            )
        return [i for i in chosen if i.contract_size is not None]

    def missing(self, found: dict[str, Instrument], venues: Sequence[str]) -> str:
        """What of the settings none of `found`, by market, answers to, and the remedy."""
        if self._markets:
            missing = [name for name in sorted(self._markets) if name not in found]
            setting, remedy = "AGGR_MARKETS", "use EXCHANGE:symbol as /products shows them"
        else:
            bases = {i.base for i in found.values()}
            missing = [symbol for symbol in sorted(self._symbols) if symbol not in bases]
            setting, remedy = "AGGR_SYMBOLS", "use base coins such as BTC"
        if not missing:
            return ""
        return (
            f"no dollar market for {setting}={','.join(missing)} at {', '.join(venues)}; {remedy}"
        )

    def _wants(self, adapter: Adapter, instrument: Instrument) -> bool:
        if self._markets:
            return adapter.market(instrument) in self._markets
        return instrument.base in self._symbols and instrument.kind in KINDS


def canonical(markets: Iterable[str]) -> list[str]:
    """`EXCHANGE:symbol` with aliases of exchanges replaced. Raises `ValueError`."""
    names = []
    for market in markets:
        exchange, symbol = ccxt_markets.split(market)
        if not symbol:
            raise ValueError(f"{market!r} is no market: write EXCHANGE:symbol")
        names.append(f"{named(exchange).name}:{symbol}")
    return names


def named(exchange: str) -> Adapter:
    """The adapter of an exchange, or of `CCXT:exchange`. Raises `ValueError`."""
    prefix, _, id = exchange.partition(":")
    if prefix.upper() == ccxt_markets.PREFIX:
        return ccxt_markets.adapter(id)
    return exchanges.get(exchange)


def chosen_adapters(settings: CollectorSettings) -> list[Adapter]:
    """The venues the settings ask for. Raises `ValueError` naming the setting at fault."""
    try:
        setting = "AGGR_MARKETS"
        markets = canonical(settings.aggr_markets)
        chosen = [named(ccxt_markets.split(market)[0]) for market in markets]
        setting = "AGGR_EXCHANGES"
        asked = [named(exchange) for exchange in settings.aggr_exchanges]
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from error
    found = chosen or asked or exchanges.known().values()
    return sorted(set(found), key=lambda adapter: adapter.name)
