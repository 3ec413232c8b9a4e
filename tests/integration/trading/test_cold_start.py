"""A first start with an empty database: what is said, and what candles can do for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.market.backfill import Backfill
from services.market.history import History
from services.market.klines import Klines, KlinesUnavailable
from services.strategy.types import State
from services.trading.warmup import shortage
from tests.integration.trading import harness
from tests.integration.trading.candles import (
    BEGIN,
    PERP,
    SPLIT,
    SPOT,
    Venue,
    cold_runner,
    fill_up,
)
from tests.integration.trading.harness import Runner, Tape, eventually, store
from tests.unit.strategy.scenarios import LEAD_S


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Tape:
    """The flow of S5 over four markets, one of each class with candles."""
    monkeypatch.setattr(harness, "SPLIT", SPLIT)
    return Tape("S5")


@pytest.fixture
async def venue(tape: Tape) -> AsyncIterator[Venue]:
    found = Venue(tape)
    await found.server.start_server()
    yield found
    await found.server.close()


@pytest.fixture
async def backfill(influx: InfluxClient, venue: Venue) -> AsyncIterator[Backfill]:
    found = Backfill(influx, History(influx), Klines(venue.gateway))
    yield found
    await found.close()


async def test_missing_minutes_are_fetched_once_and_kept_apart(
    influx: InfluxClient, tape: Tape, venue: Venue, backfill: Backfill
) -> None:
    await store(influx, tape, BEGIN, BEGIN + 120)
    span = (tape.start + BEGIN - 1800, tape.start + BEGIN + 120)
    assert await backfill.fetch(harness.markets(), PERP, *span) == 60
    asked = venue.requests
    assert await backfill.fetch(harness.markets(), PERP, *span) == 0
    assert venue.requests == asked
    rows = await influx.query(
        f'SELECT vbuy FROM "aggr_1m"."{names.BACKFILL_MEASUREMENT}" GROUP BY market'
    )
    assert {row["market"] for row in rows} == {SPOT.market, PERP.market}
    assert max(row["time"] for row in rows) < tape.start + BEGIN
    assert await influx.query('SELECT * FROM "aggr_1m"."trades_1m"') == []


async def test_filled_history_equals_what_the_collectors_would_have_seen(
    influx: InfluxClient, tape: Tape, backfill: Backfill
) -> None:
    await store(influx, tape, BEGIN, BEGIN + 1920)
    from_s, to_s = tape.start + BEGIN - 3600, tape.start + BEGIN + 1920
    await backfill.fetch(harness.markets(), PERP, from_s, to_s)
    found = await backfill.minutes(harness.markets(), PERP, from_s, to_s)
    await store(influx, tape, BEGIN - 3600, BEGIN)
    known = await History(influx).table(harness.markets(), PERP, from_s, to_s)
    assert len(found.minutes) == 60
    for t in found.minutes:
        assert found.table.prices[t] == pytest.approx(known.prices[t])
        for kind in ("spot", "perp"):
            assert found.table.flows[kind][t] == pytest.approx(known.flows[kind][t])


@pytest.mark.parametrize(
    ("status", "headers", "wait_s", "words"),
    [
        (429, {"Retry-After": "17"}, 17.0, "too many requests"),
        (418, {}, 60.0, "too many requests"),
        (451, {}, 600.0, "does not serve"),
        (403, {}, 600.0, "does not serve"),
        (500, {}, 15.0, "500"),
    ],
)
async def test_a_refusal_is_named_and_obeyed(
    tape: Tape, venue: Venue, status: int, headers: dict[str, str], wait_s: float, words: str
) -> None:
    klines = Klines(venue.gateway)
    venue.refusal = status, headers
    with pytest.raises(KlinesUnavailable, match=words) as caught:
        await klines.fetch(PERP, tape.start, tape.start + 600)
    assert caught.value.retry_after_s == wait_s
    venue.refusal = None
    if status != 500:
        with pytest.raises(KlinesUnavailable, match=words):
            await klines.fetch(PERP, tape.start, tape.start + 600)
        assert venue.requests == 1
    assert len(await klines.fetch(SPOT, tape.start, tape.start + 600)) == 10
    await klines.close()


async def test_an_empty_database_is_told_class_by_class(
    connections: Connections, influx: InfluxClient, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, tape: Tape,
) -> None:  # fmt: skip
    async with Runner(connections, tape, tmp_path) as runner:
        await runner.start(BEGIN + 100)
        await runner.play(BEGIN + 101, BEGIN + 400)
        lack = shortage(runner.btc)
        assert lack is not None
        assert lack.missing["spot"] == "4 of 270 min"
        assert lack.missing["window"] == "300 of 1801 s"
        assert "open_interest" in lack.missing
        assert lack.warm_at == tape.start + BEGIN + 120 + 270 * 60
        assert caplog.text.count("too little history") == 1
        shown = runner.app.cycle._details()["warmup"]
        assert isinstance(shown, dict)
        assert shown["BTCUSDT"]["missing"] == lack.missing


async def test_warm_after_half_an_hour_with_candles_and_the_signal_says_so(
    connections: Connections, influx: InfluxClient, tmp_path: Path, venue: Venue, tape: Tape,
) -> None:  # fmt: skip
    async with cold_runner(connections, influx, tape, tmp_path, venue.gateway) as runner:
        assert runner.btc.engine.state is State.WARMUP
        assert runner.btc.filled == ()
        lack = shortage(runner.btc)
        assert lack is not None
        assert lack.warm_at == runner.btc.usable_at

        await fill_up(runner, influx)
        assert len(runner.btc.filled) > 200
        await runner.play(BEGIN + 81, LEAD_S + 2780, lambda: bool(runner.btc.signal))
        signal = runner.btc.signal
        assert signal is not None
        assert "backfilled minutes" in signal.reasoning
        rows = await eventually(
            lambda: influx.query("SELECT signal_id FROM strategy_signals"), 10.0
        )
        assert signal.signal_id in {row["signal_id"] for row in rows}
