"""A backtest over a time in which missing minutes were filled from candles."""

from __future__ import annotations

from pathlib import Path

import pytest

from aggr_server.influx import InfluxClient
from aggr_server.points import market_line
from aggr_server.settings import Connections
from services.backtest.assemble import warm_from
from services.backtest.run import Plan, Run
from services.backtest.sources.material import Material, Wanted
from services.backtest.sources.stored import from_influx
from services.influx_signal_manager import iso
from services.market.backfill import Backfill
from services.market.history import History
from services.market.klines import Klines
from services.strategy.params import Params
from tests.integration.trading import harness
from tests.integration.trading.candles import (
    BEGIN,
    FIRST,
    PERP,
    SPLIT,
    Venue,
    signal_on_candles,
)
from tests.integration.trading.harness import Tape, markets, store
from tests.unit.strategy.scenarios import LEAD_S


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Tape:
    monkeypatch.setattr(harness, "SPLIT", SPLIT)
    return Tape("S5")


async def material(
    influx: InfluxClient, tape: Tape, folder: Path, from_s: int, *, backfill: bool = True
) -> Material:
    span = (tape.start + from_s, tape.start + LEAD_S + 3000)
    wanted = Wanted(("BTC",), *span, "BINANCE_FUTURES", backfill=backfill)
    return await from_influx(influx, wanted, Params(), folder)


def run_of(found: Material) -> Run:
    run = Run(Plan(found.tapes, found.execution, found.from_s, found.to_s))
    run.go()
    return run


async def test_the_same_minutes_are_filled_and_give_the_same_signal_as_live(
    connections: Connections, influx: InfluxClient, tmp_path: Path, tape: Tape
) -> None:
    live = await signal_on_candles(connections, influx, tape, tmp_path)
    first_minute = (tape.start + FIRST) // 60 * 60
    usable_s = first_minute + 60 * 31

    found = await material(influx, tape, tmp_path, 0)
    (only,) = found.tapes
    assert only.filled == tuple(range(tape.start, first_minute, 60))
    assert (only.first_s, only.begin_s) == (first_minute + 60, usable_s)
    said = " ".join(found.notes)
    assert f"{len(only.filled)} minutes before the start were seen by no collector" in said
    assert f"nothing is decided before {iso(usable_s * 1000)}" in said

    run = run_of(found)
    again = run.ledger.signals[0]
    assert again.ts_ms // 1000 == live.ts_ms // 1000
    assert (again.signal_id, again.action) == (live.signal_id, live.action)
    assert again.score == pytest.approx(live.score, abs=1e-9)

    without = await material(influx, tape, tmp_path, 0, backfill=False)
    assert without.tapes[0].filled == ()
    assert not run_of(without).ledger.signals


async def test_an_outage_is_filled_for_a_run_that_begins_after_it_only(
    influx: InfluxClient, tmp_path: Path, tape: Tape
) -> None:
    gone, back = BEGIN - 5400, BEGIN - 1800
    await store(influx, tape, 0, gone)
    await store(influx, tape, back, LEAD_S + 3000)
    await influx.write([market_line(market, tape.start) for market in markets()])
    venue = Venue(tape)
    await venue.server.start_server()
    backfill = Backfill(influx, History(influx), Klines(venue.gateway))
    span = (tape.start, tape.start + BEGIN)
    assert await backfill.fetch(markets(), PERP, *span) == 2 * 60
    await backfill.close()
    await venue.server.close()

    usable = back + 60 * 31
    for from_s in (gone - 3600, back + 60, usable - 60):
        found = await material(influx, tape, tmp_path, from_s)
        assert found.tapes[0].filled == ()
        assert found.tapes[0].first_s == max(tape.start, tape.start + from_s - 14_400)
        (note,) = (n for n in found.notes if "only in the course of the run" in n)
        assert "60 missing minutes could be filled" in note
        assert f"--from {iso((tape.start + usable) * 1000)}" in note

    found = await material(influx, tape, tmp_path, usable)
    (only,) = found.tapes
    assert only.filled == tuple(range(tape.start + gone, tape.start + back, 60))
    assert (only.first_s, only.begin_s) == (tape.start + back + 60, tape.start + usable)
    assert not any("only in the course" in note for note in found.notes)
    run = run_of(found)
    assert warm_from(run, run.players[0]) == tape.start + usable
    assert "60 backfilled minutes" in run.ledger.signals[0].reasoning
