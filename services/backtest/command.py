"""The backtest from the command line to the files it writes."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec

from aggr_server.env import SettingsError, load
from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable, NotSetUp
from services.backtest import export, options, overrides, summary, sweep
from services.backtest.assemble import result_of, utc
from services.backtest.errors import BacktestError
from services.backtest.progress import ProgressLine
from services.backtest.result import BacktestResult
from services.backtest.run import Plan, Run
from services.backtest.sources.material import Material, Wanted, from_files
from services.backtest.sources.sample_files import by_base
from services.backtest.sources.stored import from_influx
from services.backtest.sources.table import Progress, silent
from services.core.settings import ExecutorSettings, StrategySettings
from services.market.symbols import symbol_of
from services.strategy.params import Params
from services.trading.app import strategy_params

FAILED = 1
INTERRUPTED = 130


def main(arguments: list[str] | None, environ: Mapping[str, str]) -> int:
    """Run as asked; the exit status. What is wrong is said in one line on stderr."""
    chosen = options.parser().parse_args(arguments)
    if chosen.list_params:
        print(_listed())
        return 0
    logging.basicConfig(level=logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory(prefix="backtest-") as folder:
            _Command(chosen, environ, Path(folder)).go()
    except (BacktestError, SettingsError, InfluxError, NotSetUp) as error:
        print(f"backtest.py: {error}", file=sys.stderr)
        return FAILED
    except InfluxUnavailable as error:
        print(
            f"backtest.py: InfluxDB cannot be reached ({error}): start the stack with "
            "./scripts/up.sh, or give files with --bars or --trades",
            file=sys.stderr,
        )
        return FAILED
    except KeyboardInterrupt:
        print("backtest.py: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


class _Command:
    def __init__(
        self, chosen: argparse.Namespace, environ: Mapping[str, str], folder: Path
    ) -> None:
        self._options = chosen
        self._folder = folder
        self._settings = load(StrategySettings, environ)
        self._params = self._chosen_params()
        executor = load(ExecutorSettings, environ)
        self._costs = options.costs_of(
            chosen, executor.freqtrade_max_leverage, executor.freqtrade_risk_frac
        )
        self._grid = overrides.combinations(overrides.parse_sweep(chosen.sweep))
        for values in self._grid:
            overrides.params_with(values)
        self._wanted = self._asked()

    def go(self) -> None:
        chosen = self._options
        material = self._material()
        plan = Plan(
            material.tapes,
            material.execution,
            material.from_s,
            material.to_s,
            self._params,
            self._costs,
        )
        splits = (
            sweep.bounds(plan.from_s, plan.to_s, chosen.walk_forward)
            if chosen.walk_forward is not None
            else []
        )
        run = Run(plan)
        with self._line("running") as progress:
            run.go(progress)
        result = self._searched(plan, splits, result_of(run, material.notes))
        written = self._write(result)
        if not chosen.quiet:
            print(summary.text(result, chosen.best_by))
            for name, path in written:
                print(f"{name}: {path}")

    def _searched(
        self, plan: Plan, splits: list[sweep.Bounds], result: BacktestResult
    ) -> BacktestResult:
        chosen = self._options
        jobs = chosen.jobs if chosen.jobs is not None else sweep.cores()
        if chosen.sweep:
            with self._line(f"sweep of {len(self._grid)}") as progress:
                rows = sweep.sweep(plan, self._grid, jobs, progress)
            result = msgspec.structs.replace(result, sweep=rows)
        if splits:
            with self._line("walk-forward") as progress:
                found = sweep.walk_forward(plan, splits, self._grid, chosen.best_by, jobs, progress)
            result = msgspec.structs.replace(result, walk_forward=found)
        return result

    def _material(self) -> Material:
        with self._line("reading") as progress:
            if self._wanted.files:
                return from_files(self._wanted, self._folder, progress)
            return asyncio.run(self._stored(progress))

    async def _stored(self, progress: Progress) -> Material:
        async with InfluxClient(self._settings, timeout_s=60.0) as influx:
            return await from_influx(influx, self._wanted, self._params, self._folder, progress)

    def _asked(self) -> Wanted:
        chosen = self._options
        if not chosen.symbol:
            raise BacktestError("which symbol? Give --symbol BTC, for example")
        names = [name.upper() for text in chosen.symbol for name in text.split(",") if name]
        bases = tuple(dict.fromkeys(names))
        for base in bases:
            try:
                symbol_of(base)
            except ValueError as error:
                raise BacktestError(f"--symbol {error}") from error
        from_s = options.utc_second("--from", chosen.from_)
        to_s = options.utc_second("--to", chosen.to)
        files = bool(chosen.bars or chosen.trades)
        if not files and to_s is None:
            to_s = int(time.time())
        if from_s is not None and to_s is not None and from_s >= to_s:
            raise BacktestError(f"--from {utc(from_s)} is not before --to {utc(to_s)}")
        if chosen.walk_forward is not None and chosen.walk_forward < 1:
            raise BacktestError(f"--walk-forward {chosen.walk_forward}: at least 1")
        return Wanted(
            bases,
            from_s,
            to_s,
            (chosen.execution_exchange or self._settings.squeezeflow_execution_exchange).upper(),
            tuple(chosen.bars),
            tuple(chosen.trades),
            by_base("--oi", chosen.oi, bases),
            by_base("--funding", chosen.funding, bases),
            self._settings.squeezeflow_backfill,
        )

    def _chosen_params(self) -> Params:
        values: dict[str, Any] = dataclasses.asdict(strategy_params(self._settings))
        values |= overrides.parse_all("--set", self._options.set)
        if self._options.warm_min is not None:
            values["warm_min"] = self._options.warm_min
        return overrides.params_with(values)

    def _write(self, result: BacktestResult) -> list[tuple[str, Path]]:
        chosen, written = self._options, []
        if chosen.json is not None:
            export.write_json(result, chosen.json)
            written.append(("JSON", chosen.json))
        if chosen.csv is not None:
            written += [("CSV", path) for path in export.write_csv(result, chosen.csv)]
        if not chosen.no_report:
            path = chosen.report or Path(_report_name(result))
            _render(result, path)
            written.append(("Report", path.resolve()))
        return written

    def _line(self, label: str) -> ProgressLine | nullcontext[Progress]:
        return nullcontext(silent) if self._options.quiet else ProgressLine(label)


def _render(result: BacktestResult, path: Path) -> None:
    from services.backtest import report

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        report.render(result, path)
    except OSError as error:
        raise BacktestError(f"{path}: {error.strerror or error}") from error


def _report_name(result: BacktestResult) -> str:
    def short(t: int) -> str:
        return utc(t)[:16].translate({ord("-"): "", ord(":"): "", ord(" "): "T"})

    symbols = "-".join(result.symbols[:3]) + ("-etc" if len(result.symbols) > 3 else "")
    return f"backtest-{symbols}-{short(result.from_s)}-{short(result.to_s)}.html"


def _listed() -> str:
    values = dataclasses.asdict(Params())
    width = max(map(len, values))
    return "\n".join(f"{name:{width}}  {value}" for name, value in values.items())
