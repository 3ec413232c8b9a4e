"""Many runs on all cores: a grid of parameters, and walk-forward splits.

Choosing the best of many combinations finds luck as well as merit. Both commands say how much of
the best result luck alone explains (Bailey and Lopez de Prado, "The Deflated Sharpe Ratio", Journal
of Portfolio Management 40 (2014)).
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import NormalDist, stdev
from typing import Any, Literal, NamedTuple

from services.backtest.assemble import metrics_of
from services.backtest.errors import BacktestError
from services.backtest.overrides import params_with
from services.backtest.result import Metrics, Split, SweepRow
from services.backtest.run import Plan, Run
from services.backtest.sources.table import Progress, silent

Criterion = Literal["pnl", "sharpe", "sortino", "profit_factor", "expectancy_r"]
CRITERIA: tuple[Criterion, ...] = ("pnl", "sharpe", "sortino", "profit_factor", "expectancy_r")

IN_SAMPLE_PARTS = 3
"""An in-sample part is this many times as long as the out-of-sample part after it."""

SHORTEST_PART_S = 3600
EULER_GAMMA = 0.5772156649015329


class Task(NamedTuple):
    """One run: parameters, over [from_s, to_s)."""

    values: Mapping[str, Any]
    from_s: int
    to_s: int


class Bounds(NamedTuple):
    """In-sample [in_from_s, in_to_s), out-of-sample [in_to_s, out_to_s)."""

    in_from_s: int
    in_to_s: int
    out_to_s: int


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def results(
    plan: Plan, tasks: Sequence[Task], jobs: int, progress: Progress = silent
) -> Iterator[Metrics]:
    """The figures of each task, in their order, whatever the number of `jobs`."""
    if jobs <= 1 or len(tasks) <= 1:
        for i, task in enumerate(tasks):
            yield _one(plan, task)
            progress((i + 1) / len(tasks))
        return
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(
        min(jobs, len(tasks)), mp_context=context, initializer=_prepare, initargs=(plan,)
    ) as pool:
        for i, metrics in enumerate(pool.map(_prepared, tasks)):
            yield metrics
            progress((i + 1) / len(tasks))


def sweep(
    plan: Plan, grid: Sequence[Mapping[str, Any]], jobs: int, progress: Progress = silent
) -> list[SweepRow]:
    """Every combination over the whole time, in the order of the grid."""
    tasks = [Task(values, plan.from_s, plan.to_s) for values in grid]
    found = results(plan, tasks, jobs, progress)
    return [
        SweepRow(values=dict(task.values), metrics=metrics)
        for task, metrics in zip(tasks, found, strict=True)
    ]


def bounds(from_s: int, to_s: int, splits: int) -> list[Bounds]:
    """`splits` windows that move on by the length of the out-of-sample part.

    Raises `BacktestError` if the parts become shorter than an hour.
    """
    part_s = (to_s - from_s) // (splits + IN_SAMPLE_PARTS)
    if part_s < SHORTEST_PART_S:
        hours = SHORTEST_PART_S * (splits + IN_SAMPLE_PARTS) / 3600
        raise BacktestError(
            f"--walk-forward {splits} needs at least {hours:.0f} hours of data, there are "
            f"{(to_s - from_s) / 3600:.1f}; take fewer splits or more time"
        )
    starts = [from_s + i * part_s for i in range(splits)]
    middle_s, length_s = IN_SAMPLE_PARTS * part_s, (IN_SAMPLE_PARTS + 1) * part_s
    return [Bounds(start, start + middle_s, start + length_s) for start in starts]


def walk_forward(
    plan: Plan,
    splits: Sequence[Bounds],
    grid: Sequence[Mapping[str, Any]],
    criterion: Criterion,
    jobs: int,
    progress: Progress = silent,
) -> list[Split]:
    """For each split: the best combination of the in-sample part, used on the part after it."""
    tasks = [Task(values, b.in_from_s, b.in_to_s) for b in splits for values in grid]
    whole = len(tasks) + len(splits)
    inside = list(results(plan, tasks, jobs, lambda share: progress(share * len(tasks) / whole)))
    chosen = []
    for i, b in enumerate(splits):
        rows = inside[i * len(grid) : (i + 1) * len(grid)]
        best = best_of(rows, criterion)
        chosen.append((b, grid[best], rows[best]))
    after = [Task(values, b.in_to_s, b.out_to_s) for b, values, _ in chosen]
    done = len(tasks)
    outside = results(
        plan, after, jobs, lambda share: progress((done + share * len(splits)) / whole)
    )
    return [
        Split(
            in_from_s=b.in_from_s,
            in_to_s=b.in_to_s,
            out_to_s=b.out_to_s,
            values=dict(values),
            in_sample=metrics,
            out_of_sample=out,
        )
        for (b, values, metrics), out in zip(chosen, outside, strict=True)
    ]


def score(metrics: Metrics, criterion: Criterion) -> float:
    """The figure to be made large; minus infinity where it is not defined."""
    value: float | None = getattr(metrics, criterion)
    return float("-inf") if value is None else value


def best_of(rows: Sequence[Metrics], criterion: Criterion) -> int:
    """Index of the largest figure, the first of equal ones."""
    return max(range(len(rows)), key=lambda i: (score(rows[i], criterion), -i))


def luck(values: Sequence[float]) -> float | None:
    """How far the best of these trials lies above their mean if all are equally good.

    Expected maximum of N normal draws, with the spread of the trials themselves: sigma * ((1 - g) *
    Z(1 - 1/N) + g * Z(1 - 1/(N e))), Z the normal quantile, g Euler's constant (False Strategy
    Theorem). None for fewer than 3 trials.
    """
    n = len(values)
    if n < 3:
        return None
    quantile = NormalDist().inv_cdf
    e = 2.718281828459045
    factor = (1 - EULER_GAMMA) * quantile(1 - 1 / n) + EULER_GAMMA * quantile(1 - 1 / (n * e))
    return stdev(values) * factor


_plan: Plan | None = None


def _prepare(plan: Plan) -> None:
    global _plan
    _plan = plan


def _prepared(task: Task) -> Metrics:
    assert _plan is not None
    return _one(_plan, task)


def _one(plan: Plan, task: Task) -> Metrics:
    fixed = dataclasses.asdict(plan.params)
    chosen = dataclasses.replace(
        plan,
        params=params_with({**fixed, **task.values}),
        from_s=task.from_s,
        to_s=task.to_s,
    )
    run = Run(chosen)
    run.go()
    return metrics_of(run)
