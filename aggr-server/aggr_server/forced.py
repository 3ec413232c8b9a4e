"""Forced orders of seconds that are about to be rebuilt, wherever they are known."""

from __future__ import annotations

from aggr_server.bars import BarBuilder
from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable
from aggr_server.markets import MarketState
from aggr_server.points import BARS
from aggr_server.recovery import ForcedUnknown
from aggr_server.spool import Spool

BEHIND_S = 30
"""With more closed seconds than this waiting, InfluxDB cannot tell the whole past."""


class KnownForced:
    """Looks into memory, and for what is older than it keeps into InfluxDB."""

    def __init__(self, builder: BarBuilder, influx: InfluxClient, spool: Spool) -> None:
        self._builder = builder
        self._influx = influx
        self._spool = spool

    async def __call__(
        self, market: MarketState, from_s: int, to_s: int
    ) -> dict[int, tuple[float, float]]:
        """Notional of forced buys and sells by second. Raises `ForcedUnknown`."""
        found = market.series.forced(from_s, to_s)
        old_s = min(to_s, self._builder.kept_from_s)
        if from_s >= old_s or market.instrument.kind == "spot":
            return found
        if self._spool.waiting > BEHIND_S:
            raise ForcedUnknown("forced orders of the time are not stored yet, InfluxDB is behind")
        name = market.name.replace("\\", "\\\\").replace("'", "\\'")
        try:
            rows = await self._influx.query(
                f'SELECT lbuy, lsell FROM "{BARS.retention_policy}"."{BARS.measurement}" '
                f"WHERE market = '{name}' AND time >= {from_s}s AND time < {old_s}s "
                "AND (lbuy > 0 OR lsell > 0)"
            )
        except (InfluxError, InfluxUnavailable) as error:
            raise ForcedUnknown(
                f"forced orders of the time cannot be looked up: {error}"
            ) from error
        stored = {int(row["time"]): (row["lbuy"] or 0.0, row["lsell"] or 0.0) for row in rows}
        return {**stored, **found}
