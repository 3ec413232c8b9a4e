"""Open interest that comes while a symbol's history is being read."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core.records import OpenInterest
from services.market.history import OI_KNOWN_AFTER_S, OpenInterestSeries
from tests.integration.trading.harness import Runner, Tape, store
from tests.unit.strategy.scenarios import LEAD_S

BEGIN = LEAD_S // 60 * 60


async def test_what_comes_while_the_history_is_read_is_not_lost(
    connections: Connections,
    redis: Redis,
    influx: InfluxClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tape = Tape("S5")
    await store(influx, tape, BEGIN - 600, BEGIN)
    async with Runner(connections, tape, tmp_path) as runner:
        app, taken = runner.app, tape.start + BEGIN - 5
        read = app.history.open_interest

        async def reading(base: str, from_s: int, to_s: int) -> OpenInterestSeries:
            stored = await read(base, from_s, to_s)
            app.feed._on_open_interest(
                OpenInterest(
                    exchange="BYBIT",
                    base="BTC",
                    ts_ms=taken * 1000,
                    coins=9.0,
                    usd=900.0,
                    price=100.0,
                    raw=9.0,
                    unit="base",
                )
            )
            return stored

        monkeypatch.setattr(app.history, "open_interest", reading)
        await runner.start(BEGIN)
        assert runner.btc.oi.at(taken + OI_KNOWN_AFTER_S - 1) == {}
        assert runner.btc.oi.at(taken + OI_KNOWN_AFTER_S) == {"BYBIT": 9.0}
