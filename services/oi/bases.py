"""Which base symbols open interest is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio import Redis

from services.market.markets import USD_QUOTES, read_redis


class Bases:
    """Bases of the perpetuals that collectors follow now, of those in `limit`.

    While no collector lists any, all of `limit`.
    """

    def __init__(self, limit: Sequence[str]) -> None:
        self._limit = tuple(limit)
        self.current = self._limit

    async def refresh(self, redis: Redis) -> None:
        """Look at the collectors' markets. Raises `redis.exceptions.RedisError`."""
        followed = {
            market.base
            for market in await read_redis(redis)
            if market.kind == "perp" and market.quote.upper() in USD_QUOTES
        }
        self.current = tuple(base for base in self._limit if base in followed) or self._limit
