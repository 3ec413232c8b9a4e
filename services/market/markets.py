"""The directory of markets: which base symbol and which class a market's bars belong to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from logging import getLogger

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable
from aggr_server.log import kv
from aggr_server.wire import MARKETS_KEY, MARKETS_MEASUREMENT, Market
from services.core.outage import Outage

USD_QUOTES = frozenset({"USD", "USDT", "USDC", "FDUSD", "USD1", "DAI", "TUSD", "BUSD"})
"""Quotes that count as one US dollar. Markets quoted in anything else take no part."""

_CLASSES = ("spot", "perp")

_log = getLogger(__name__)


class Directory:
    """Markets of the given base symbols that take part: spot or perpetual, quoted in dollars.

    A market that was known once stays known, because its stored bars still have to be classified.
    """

    def __init__(self, bases: Collection[str]) -> None:
        self._bases = frozenset(bases)
        self._accepted: dict[str, Market] = {}
        self._others: set[str] = set()
        self._reported: set[str] = set()
        self.unknown_seen = False

    @property
    def started(self) -> bool:
        """Whether a market of any base is known."""
        return bool(self._accepted)

    @property
    def complete(self) -> bool:
        """Whether a market of each base is known."""
        return {market.base for market in self._accepted.values()} == self._bases

    def update(self, markets: Iterable[Market]) -> int:
        """Add what is new or changed; the number of such markets that take part."""
        changed = 0
        for market in markets:
            if not self._takes_part(market):
                self._others.add(market.market)
                self._accepted.pop(market.market, None)
            elif self._accepted.get(market.market) != market:
                self._accepted[market.market] = market
                changed += 1
        self.unknown_seen = False
        return changed

    def get(self, name: str) -> Market | None:
        """The market, or None if it takes no part; an unknown one is reported once."""
        if market := self._accepted.get(name):
            return market
        if name not in self._others:
            self.unknown_seen = True
            if name not in self._reported:
                self._reported.add(name)
                _log.warning(
                    "bars rejected, the market's class is not known %s",
                    kv(market=name, remedy="the collector lists it within 30 s, else restart it"),
                )
        return None

    def base_of(self, name: str) -> str | None:
        """The base symbol whose sums the market belongs to; None if it takes no part."""
        market = self._accepted.get(name) or self.get(name)
        return market.base if market else None

    def of_base(self, base: str) -> list[Market]:
        """Markets of `base` that take part, sorted by name."""
        found = (m for m in self._accepted.values() if m.base == base)
        return sorted(found, key=lambda m: m.market)

    def _takes_part(self, market: Market) -> bool:
        return (
            market.base in self._bases
            and market.kind in _CLASSES
            and market.quote.upper() in USD_QUOTES
        )


async def refresh(
    directory: Directory,
    redis: Redis,
    influx: InfluxClient,
    *,
    redis_outage: Outage,
    influx_outage: Outage,
) -> int:
    """Add what the collectors list now, and what they recorded earlier unless each base is known;
    the number of markets new or changed. What cannot be read is left out."""
    found: list[Market] = []
    if not directory.complete:
        try:
            found = await read_influx(influx)
            influx_outage.over()
        except InfluxUnavailable as error:
            influx_outage.failed(error)
        except InfluxError as error:
            _log.warning("stored markets not read %s", kv(error=error))
    try:
        found += await read_redis(redis)
        redis_outage.over()
    except RedisError as error:
        redis_outage.failed(error)
    return directory.update(found)


async def read_redis(redis: Redis) -> list[Market]:
    """Markets the collectors list now. Raises `redis.exceptions.RedisError`."""
    found: list[Market] = []
    for name, value in (await redis.hgetall(MARKETS_KEY)).items():
        try:
            found.append(msgspec.json.decode(value, type=Market))
        except msgspec.MsgspecError as error:
            _log.warning("market not readable %s", kv(market=str(name), error=error))
    return found


async def read_influx(influx: InfluxClient) -> list[Market]:
    """Markets as recorded by collectors earlier. Raises `InfluxError`, `InfluxUnavailable`."""
    rows = await influx.query(
        f'SELECT last("kind") AS "kind", "base", "quote" FROM "{MARKETS_MEASUREMENT}" '
        'GROUP BY "market"'
    )
    found: list[Market] = []
    for row in rows:
        try:
            found.append(
                msgspec.convert(
                    {**row, "exchange": row["market"].partition(":")[0]}, Market, strict=True
                )
            )
        except (msgspec.ValidationError, KeyError) as error:
            _log.warning("stored market not usable %s", kv(market=row.get("market"), error=error))
    return found
