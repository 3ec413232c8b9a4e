"""The plain way to evaluate a symbol each second: query the window and compute it anew."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pandas as pd
from influxdb import InfluxDBClient

from aggr_server.wire import TIMEFRAMES, Bar
from services.core.settings import InfluxSchemaSettings
from services.influx_init import connect
from tests.bench.cycling import market
from tests.integration.trading.harness import line

WINDOW_S = 14_400
WINDOWS_MIN = (5, 10, 15, 30, 60, 120, 240)
_BATCH = 10_000


def store(settings: InfluxSchemaSettings, base: str = "BTC") -> None:
    """Write four hours of one-second bars of a symbol."""
    rows = market.Coin(base, 0).seconds(market.BEGIN - WINDOW_S, market.BEGIN)
    bars = [bar for row in rows for bar in row]
    with connect(settings) as client:
        for first in range(0, len(bars), _BATCH):
            _write(client, settings, bars[first : first + _BATCH])


def _write(client: InfluxDBClient, settings: InfluxSchemaSettings, bars: Iterable[Bar]) -> None:
    client.write_points(
        [line(bar) for bar in bars],
        time_precision="s",
        database=settings.influx_database,
        retention_policy=TIMEFRAMES[0].retention_policy,
        protocol="line",
    )


def cycles_ms(settings: InfluxSchemaSettings, rounds: int, base: str = "BTC") -> list[float]:
    """Milliseconds of each evaluation, query and computation."""
    taken = []
    with connect(settings) as client:
        for _ in range(rounds):
            started = time.perf_counter()
            evaluate(client, settings.influx_database, base)
            taken.append((time.perf_counter() - started) * 1000)
    return taken


def evaluate(client: InfluxDBClient, database: str, base: str) -> pd.DataFrame:
    """Change of price and both CVDs over each window, in units of their usual minute."""
    kinds = {
        kind: _bars(client, database, [m.market for m in market.markets(base) if m.kind == kind])
        for kind in ("spot", "perp")
    }
    cvd = {
        kind: (bars["vbuy"] - bars["vsell"]).groupby(bars["time"]).sum().cumsum()
        for kind, bars in kinds.items()
    }
    price = kinds["perp"].groupby("time")["close"].mean()
    frame = pd.DataFrame({**cvd, "price": price}).ffill()
    minute = frame.iloc[::60].diff().std()
    changes = {w: (frame.iloc[-1] - frame.iloc[-min(len(frame), w * 60)]) for w in WINDOWS_MIN}
    return pd.DataFrame(changes).T / minute


def _bars(client: InfluxDBClient, database: str, markets: list[str]) -> pd.DataFrame:
    within = f"time >= {market.BEGIN - WINDOW_S}s AND time < {market.BEGIN}s"
    among = " OR ".join(f"market = '{name}'" for name in markets)
    answer = client.query(
        f"SELECT open, high, low, close, vbuy, vsell FROM aggr_1s.trades_1s "
        f"WHERE {within} AND ({among})",
        database=database,
        epoch="s",
    )
    return pd.DataFrame(answer.get_points())
