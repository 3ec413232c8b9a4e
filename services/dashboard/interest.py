"""Open interest of the watched symbols, as oi-tracker keeps it in Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from logging import getLogger

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.log import kv
from services.core import names
from services.core.records import OpenInterestTotal
from services.dashboard.audience import Audience
from services.dashboard.protocol import OpenInterest, VenueInterest
from services.dashboard.trouble import Troubles

_log = getLogger(__name__)


class Interest:
    """`bases`: base symbol by symbol."""

    every_s = 10.0

    def __init__(
        self,
        audience: Audience,
        redis: Redis,
        bases: Mapping[str, str],
        troubles: Troubles,
        now_ms: Callable[[], int],
    ) -> None:
        self._audience = audience
        self._redis = redis
        self._bases = bases
        self._troubles = troubles
        self._now_ms = now_ms

    async def round(self) -> None:
        """Read and show once; what cannot be read leaves the page as it is."""
        watched = sorted(self._audience.symbols)
        if not watched:
            return
        keys = [names.open_interest_total(self._bases[symbol]) for symbol in watched]
        try:
            values = await self._redis.mget(keys)
        except RedisError as error:
            self._troubles.note("Redis", "open interest", error)
            return
        self._troubles.note("Redis", "open interest", None)
        for symbol, raw in zip(watched, values, strict=True):
            self._audience.show(block_of(symbol, _total(raw), self._now_ms()))


def block_of(symbol: str, total: OpenInterestTotal | None, now_ms: int) -> OpenInterest:
    """The block of a symbol; without a total nothing is known."""
    if total is None:
        return OpenInterest(
            symbol=symbol,
            ts_ms=now_ms,
            venues=[],
            coins=None,
            usd=None,
            change_24h=None,
            missing=[],
        )
    return OpenInterest(
        symbol=symbol,
        ts_ms=total.ts_ms,
        venues=[
            VenueInterest(
                exchange=share.exchange,
                coins=share.coins,
                usd=share.usd,
                price=share.price,
                ts_ms=share.ts_ms,
                change_24h=share.change_24h,
                carried=share.carried,
                held=share.held,
            )
            for share in total.venues
        ],
        coins=total.coins,
        usd=total.usd,
        change_24h=total.change_24h,
        missing=total.missing,
    )


def _total(raw: bytes | str | None) -> OpenInterestTotal | None:
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=OpenInterestTotal)
    except msgspec.MsgspecError as error:
        _log.warning("open interest not readable %s", kv(error=error))
        return None
