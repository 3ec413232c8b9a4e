"""The day before live trading, written into InfluxDB as the collector would have written it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from itertools import islice
from logging import getLogger

from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable
from aggr_server.log import kv
from aggr_server.wire import COUNT_FIELDS, FLOAT_FIELDS, MARKETS_MEASUREMENT, TIMEFRAMES
from services.core.names import OI_MEASUREMENT
from services.simulator import bars
from services.simulator.bars import Bars
from services.simulator.instruments import Instrument
from services.simulator.market import Market

SECONDS_S = 4 * 3600 + 40 * 60
"""How far back one-second bars reach: what the strategy needs to be warm, and some more."""

DAY_S = 24 * 3600 + 3600
OPEN_INTEREST_S = 24 * 3600 + 2400
OPEN_INTEREST_STEP_S = 60

# Open interest bears the venue's present name, its markets the one that stored bars have.
OI_NAMES = {"OKEX": "OKX"}

_BATCH = 10_000
_RETRY_S = 2.0
_log = getLogger(__name__)

Seconds = dict[str, tuple[Bars, Bars]]
"""Per market: bars of the flow, and the one-second bars that follow them."""


def compute(market: Market) -> Seconds:
    """All bars before the anchor, which need not be known yet."""
    return {
        name: (
            market.coarse_bars(instrument, -DAY_S, -SECONDS_S),
            market.bars(instrument, -SECONDS_S, 0),
        )
        for name, instrument in market.instruments.items()
    }


def lines(market: Market, seconds: Seconds) -> Iterator[tuple[str, str]]:
    """(retention policy, line) of every point, oldest kind first. Times are UTC seconds."""
    anchor = market.live_from
    if anchor is None:
        raise RuntimeError("history has no place in time before trading is planned")
    for name, instrument in market.instruments.items():
        fields = f'base="{instrument.base}",quote="{instrument.quote}",kind="{instrument.kind}"'
        yield "", f"{MARKETS_MEASUREMENT},market={name} {fields} {anchor}"
        if instrument.kind == "perp":
            yield from _open_interest(market, instrument, anchor)
    for name, (old, recent) in seconds.items():
        whole = bars.joined([old, recent])
        for timeframe in TIMEFRAMES:
            if timeframe.seconds == 1:
                found = recent
            else:
                found = bars.rolled_up(whole, timeframe.seconds, anchor)
                # Bars that are cut by either end would be wrong; the last is built once it is over.
                found = bars.cut(found, -DAY_S, 1 - timeframe.seconds)
            prefix = f"{timeframe.measurement},market={name} "
            for line in _bar_lines(found, prefix, anchor):
                yield timeframe.retention_policy, line


async def write(influx: InfluxClient, market: Market, seconds: Seconds) -> int:
    """Write all of it, trying until InfluxDB takes it; the number of points."""
    count = 0
    source = lines(market, seconds)
    while chunk := await asyncio.to_thread(lambda: list(islice(source, _BATCH))):
        by_policy: dict[str, list[str]] = {}
        for policy, line in chunk:
            by_policy.setdefault(policy, []).append(line)
        for policy, batch in by_policy.items():
            await _write(influx, policy, batch)
            count += len(batch)
    return count


async def _write(influx: InfluxClient, policy: str, batch: list[str]) -> None:
    while True:
        try:
            await influx.write(batch, retention_policy=policy)
            return
        except InfluxUnavailable as error:
            _log.warning("history waits for InfluxDB %s", kv(error=error))
        except InfluxError as error:
            _log.error("InfluxDB refuses the history; check INFLUX_PASSWORD %s", kv(error=error))
        await asyncio.sleep(_RETRY_S * (1.0 + random.random()))


def _bar_lines(found: Bars, prefix: str, anchor: int) -> Iterator[str]:
    names = [*FLOAT_FIELDS, *COUNT_FIELDS]
    columns = [getattr(found, name).tolist() for name in names]
    o, h, lo, c, vbuy, vsell, lbuy, lsell = FLOAT_FIELDS
    cbuy, csell = COUNT_FIELDS
    for t, *v in zip(found.time.tolist(), *columns, strict=True):
        yield (
            f"{prefix}{o}={v[0]!r},{h}={v[1]!r},{lo}={v[2]!r},{c}={v[3]!r},{vbuy}={v[4]!r},"
            f"{vsell}={v[5]!r},{lbuy}={v[6]!r},{lsell}={v[7]!r},{cbuy}={v[8]}i,{csell}={v[9]}i "
            f"{t + anchor}"
        )


def _open_interest(
    market: Market, instrument: Instrument, anchor: int
) -> Iterator[tuple[str, str]]:
    exchange = instrument.exchange
    tags = (
        f"{OI_MEASUREMENT},symbol={instrument.base}{instrument.quote},"
        f"exchange={OI_NAMES.get(exchange, exchange)},aggregate_type=exchange"
    )
    first = -(-(anchor - OPEN_INTEREST_S) // OPEN_INTEREST_STEP_S) * OPEN_INTEREST_STEP_S
    path = market.coarse_bars(instrument, first - anchor, 0)
    for second in range(first, anchor, OPEN_INTEREST_STEP_S):
        coins = market.open_interest(instrument, second)
        price = float(path.close[second - first])
        figures = f"coins={coins!r},open_interest={coins * price!r},price={price!r}"
        raw = f'raw={coins * instrument.oi_factor!r},unit="{instrument.oi_unit}"'
        yield "", f"{tags} {figures},{raw} {second}"
