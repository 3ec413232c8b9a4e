"""Runs that skip what needs no look, against runs that look at every second."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.backtest.assemble import result_of
from services.backtest.result import Costs
from services.backtest.run import Plan, Run
from services.backtest.sources.tape import FundingSample, SecondBars, Tape, tape_of
from services.strategy.params import Params
from tests.unit.market.worlds import Life, world
from tests.unit.strategy.hasty import HASTY

SECONDS = 9000
START = 1_200_000 // 86_400 * 86_400 + 86_400 - 5400
"""An hour and a half before midnight."""

PARAMS = dataclasses.replace(
    HASTY, div_gap_z=0.8, comp_freeze_s=Params().comp_freeze_s, max_hold_s=1500
)


def tape(folder: Path, seed: int, base: str) -> Tape:
    columns = world([Life("perp", 0.97), Life("spot"), Life("spot", 0.9)], seed, SECONDS, START)
    bars = []
    for m in columns.markets:
        named = msgspec.structs.replace(m.market, base=base)
        on = np.flatnonzero(m.buy + m.sell > 0.0)
        rows = (m.open[on], m.high[on], m.low[on], m.close[on], m.buy[on], m.sell[on])
        bars.append(SecondBars(named, START + on, *rows))
    funding = [FundingSample((START + t) * 1000, 1e-3) for t in range(4000, SECONDS, 333)]
    return dataclasses.replace(tape_of(base, "bars", bars, folder), funding=tuple(funding))


def outcome(plan: Plan, *, skipping: bool) -> tuple[Run, dict[str, Any]]:
    run = Run(dataclasses.replace(plan, skipping=skipping))
    run.go()
    return run, {
        "result": msgspec.json.encode(result_of(run)),
        "marks": run.marks,
        "exposed_s": run.exposed_s,
        "alerts": run.ledger.alerts,
        "engines": [p.trader.engine.snapshot() for p in run.players],
    }


def compare(tapes: tuple[Tape, ...], params: Params, costs: Costs) -> Run:
    execution = {t.base: t.markets[0] for t in tapes}
    plan = Plan(tapes, execution, START, START + SECONDS, params, costs)
    (run, quick), (_, plain) = (outcome(plan, skipping=skipping) for skipping in (True, False))
    assert quick == plain
    return run


ENDS = {
    "CATASTROPHIC_STOP": (
        dataclasses.replace(PARAMS, cat_lo=0.0005, cat_hi=0.001, cat_mult=0.1, rb_confirm_s=600),
        Costs(),
    ),
    "LIQUIDATION": (
        dataclasses.replace(PARAMS, cat_enabled=False, rb_confirm_s=600),
        Costs(maintenance_rate=0.4985),
    ),
    "MAX_HOLD": (
        dataclasses.replace(PARAMS, cat_enabled=False, rb_confirm_s=600),
        Costs(fill_delay_s=0),
    ),
    "RANGE_BREAK": (PARAMS, Costs(fill_delay_s=4)),
}


@pytest.mark.parametrize("reason", ENDS)
def test_a_position_is_skipped_up_to_what_ends_it(reason: str, tmp_path: Path) -> None:
    params, costs = ENDS[reason]
    ended: Counter[str] = Counter()
    for seed in (1, 2):
        run = compare((tape(tmp_path, seed, "BTC"),), params, costs)
        ended += Counter(trade.exit_reason for trade in run.broker.trades)
    assert ended[reason] > 0


def test_positions_side_by_side_are_worth_the_same_in_every_second(tmp_path: Path) -> None:
    tapes = (tape(tmp_path, 1, "BTC"), tape(tmp_path, 2, "ETH"), tape(tmp_path, 3, "SOL"))
    costs = Costs(risk_frac=0.001, max_open_trades=2)
    run = compare(tapes, dataclasses.replace(PARAMS, max_daily_loss=1e-4), costs)
    assert {trade.symbol for trade in run.broker.trades} > {"BTCUSDT"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tapes")


@given(
    seed=st.integers(0, 2**32 - 1),
    params=st.builds(
        dataclasses.replace,
        st.just(PARAMS),
        max_hold_s=st.sampled_from((0, 60, 900)),
        rb_confirm_s=st.sampled_from((1, 10, 600)),
        cat_enabled=st.booleans(),
        cat_lo=st.sampled_from((0.0005, 0.015)),
        cat_mult=st.sampled_from((0.1, 6.0)),
    ),
    costs=st.builds(
        Costs,
        fill_delay_s=st.sampled_from((0, 1, 2, 61)),
        maintenance_rate=st.sampled_from((0.005, 0.4985)),
        risk_frac=st.sampled_from((0.0, 0.01)),
    ),
)
@settings(max_examples=6, deadline=None)
def test_skipping_any_run_gives_the_same_result(
    folder: Path, seed: int, params: Params, costs: Costs
) -> None:
    compare((tape(folder, seed, "BTC"),), params, costs)
