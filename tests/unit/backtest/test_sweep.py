from __future__ import annotations

import random
from collections.abc import Callable
from statistics import fmean, stdev

import msgspec
import pytest

from services.backtest import sweep
from services.backtest.assemble import metrics_of
from services.backtest.errors import BacktestError
from services.backtest.metrics import curve_of, measure
from services.backtest.result import Metrics
from services.backtest.run import Run
from services.backtest.sources.tape import Tape
from services.backtest.sweep import Task
from tests.unit.backtest import offline
from tests.unit.strategy.scenarios import LEAD_S, MIDNIGHT

START = MIDNIGHT + LEAD_S
NOTHING = measure(
    curve_of([(0, 1000.0), (60, 1000.0)]), [], signals=0, exposed_s=0, turnover=0.0, symbols=1
)
GRID = [{"min_score": 4.0}, {"min_score": 9.5}]


def earned(pnl: float, sharpe: float | None = None) -> Metrics:
    return msgspec.structs.replace(NOTHING, pnl=pnl, sharpe=sharpe)


def test_windows_move_on_by_the_out_of_sample_part() -> None:
    hour = 3600
    found = sweep.bounds(0, 50 * hour, 2)
    assert found == [(0, 30 * hour, 40 * hour), (10 * hour, 40 * hour, 50 * hour)]
    assert all(a.in_to_s + 10 * hour == a.out_to_s for a in found)


def test_too_little_time_for_the_splits_is_refused() -> None:
    with pytest.raises(BacktestError, match=r"needs at least 7 hours of data, there are 5\.0"):
        sweep.bounds(0, 5 * 3600, 4)


def test_the_first_of_the_best_is_chosen_and_unknown_is_never_best() -> None:
    rows = [earned(1.0), earned(3.0, 1.0), earned(3.0, 2.0)]
    assert sweep.best_of(rows, "pnl") == 1
    assert sweep.best_of(rows, "sharpe") == 2


def test_luck_alone_explains_the_best_of_many_equal_trials() -> None:
    random.seed(7)
    leads = []
    values: list[float] = []
    for _ in range(400):
        values = [random.gauss(5.0, 2.0) for _ in range(50)]
        leads.append(max(values) - fmean(values))
    estimate = sweep.luck(values)
    assert estimate is not None
    assert estimate / stdev(values) * 2.0 == pytest.approx(fmean(leads), rel=0.05)
    assert sweep.luck([1.0, 2.0]) is None


def test_a_task_is_the_run_of_its_parameters_and_time(
    tapes: Callable[[str], Tape], runs: Callable[[str], Run]
) -> None:
    plan = offline.plan(tapes("S1"))
    whole, none = sweep.sweep(plan, GRID, jobs=1)
    assert whole.metrics == metrics_of(runs("S1"))
    assert none.metrics.trades == 0
    (half,) = sweep.results(plan, [Task({}, START, START + 4000)], jobs=1)
    assert half.trades == 1


def test_all_cores_give_what_one_gives_in_the_same_order(tapes: Callable[[str], Tape]) -> None:
    plan = offline.plan(tapes("S2"), from_s=START)
    shares: list[float] = []
    one = sweep.sweep(plan, GRID, jobs=1)
    both = sweep.sweep(plan, GRID, jobs=2, progress=shares.append)
    assert msgspec.json.encode(one) == msgspec.json.encode(both)
    assert [row.values for row in both] == GRID
    assert shares == [0.5, 1.0]


def test_what_was_best_before_is_used_on_what_comes_after(tapes: Callable[[str], Tape]) -> None:
    tape = tapes("S1")
    plan = offline.plan(tape, from_s=START - 9000, to_s=START + 6000)
    splits = sweep.bounds(plan.from_s, plan.to_s, 1)
    assert splits[0].in_to_s < START + 3146 < splits[0].out_to_s
    (found,) = sweep.walk_forward(plan, splits, GRID, "pnl", jobs=1)
    assert found.values == {"min_score": 4.0}  # neither trades before, the first one is taken
    assert found.in_sample.trades == 0
    assert found.out_of_sample.trades == 1
    (other,) = sweep.walk_forward(plan, splits, GRID[1:], "pnl", jobs=1)
    assert other.out_of_sample.trades == 0
