"""From a finished run to its result."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from services.backtest.candles import candles_of, step_for
from services.backtest.metrics import curve_of, groups_of, measure
from services.backtest.player import Player
from services.backtest.result import BacktestResult, Candles, Metrics, Source
from services.backtest.run import Run
from services.strategy.params import Params
from services.strategy.types import State

FEW_TRADES = 30


def metrics_of(run: Run) -> Metrics:
    """The figures alone."""
    return measure(
        curve_of(run.marks),
        run.broker.trades,
        signals=sum(row.action != "CLOSE" for row in run.ledger.signals),
        exposed_s=run.exposed_s,
        turnover=run.broker.turnover,
        symbols=len(run.players),
    )


def result_of(run: Run, notes: Sequence[str] = ()) -> BacktestResult:
    """Everything that is to be shown or kept. `notes`: what the sources had to say."""
    plan = run.plan
    metrics = metrics_of(run)
    refusals = [*run.validator.refusals.values(), *run.broker.refusals]
    return BacktestResult(
        symbols=[player.symbol for player in run.players],
        from_s=plan.from_s,
        to_s=max(player.end_s for player in run.players),
        sources=[source_of(run, player) for player in run.players],
        costs=plan.costs,
        params=dataclasses.asdict(plan.params),
        overrides=overrides_of(plan.params),
        warnings=[*notes, *_warnings(run, metrics)],
        metrics=metrics,
        groups=groups_of(run.broker.trades),
        trades=run.broker.trades,
        signals=run.ledger.signals,
        refusals=sorted(refusals, key=lambda r: (r.t, r.symbol, r.reason)),
        curve=curve_of(run.marks),
        candles=[_candles(player) for player in run.players],
        spans=[span for player in run.players for span in run.ledger.spans.get(player.symbol, ())],
        alerts=[f"{utc(a.ts_ms // 1000)} {a.symbol} {a.code}: {a.text}" for a in run.ledger.alerts],
    )


def warm_from(run: Run, player: Player) -> int | None:
    """The first second of the run that was decided in; None if the warm-up never ended."""
    if player.warm_from_s is not None:
        return player.warm_from_s
    spans = run.ledger.spans.get(player.symbol, ())
    return next((span.from_s for span in spans if span.state != State.WARMUP), None)


def source_of(run: Run, player: Player) -> Source:
    """Where a symbol's data came from."""
    tape = player.tape
    return Source(
        symbol=player.symbol,
        kind=tape.kind,
        spot=[m.market for m in tape.markets if m.kind == "spot"],
        perp=[m.market for m in tape.markets if m.kind == "perp"],
        execution_market=player.execution.market,
        data_from_s=tape.first_s,
        data_to_s=tape.end_s,
        history_min=player.history_min,
        warm_from_s=warm_from(run, player),
        gaps_s=sum(
            max(0, min(g.to_s, player.end_s) - max(g.from_s, player.begin_s)) for g in tape.gaps
        ),
        oi_samples=tape.oi_samples,
        funding_samples=len(tape.funding),
        files=list(tape.files),
    )


def overrides_of(params: Params) -> dict[str, Any]:
    """The parameters that are not the defaults."""
    usual, chosen = dataclasses.asdict(Params()), dataclasses.asdict(params)
    return {name: value for name, value in chosen.items() if value != usual[name]}


def utc(t: int) -> str:
    """`2026-11-20 14:05:00`."""
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _candles(player: Player) -> Candles:
    step_s = step_for(player.end_s - player.begin_s)
    return candles_of(player.tape, player.execution, player.begin_s, player.end_s, step_s)


def _cold(run: Run, player: Player) -> str:
    """Why the warm-up never ended."""
    minutes = player.history_min + (player.end_s - player.begin_s) // 60
    needed = run.plan.params.warm_min
    if minutes < needed:
        return (
            f"the data give {minutes} minutes, the warm-up takes {needed} (more data, an earlier "
            "start, or --warm-min)"
        )
    last = player.trader.last
    if last is None or last.degraded:
        covered = 0.0 if last is None else last.coverage
        return f"the markets do not cover the time well enough, {covered:.0%} at the end"
    return (
        "the warm-up is over, but no scale could be estimated: they leave out the newest "
        f"{run.plan.params.scale_lag_min} minutes (--set scale_lag_min=...) and need 30 more, and "
        "the market must move"
    )


def _warnings(run: Run, metrics: Metrics) -> list[str]:
    found = []
    for player in run.players:
        warm_s = warm_from(run, player)
        if warm_s is None:
            found.append(f"{player.symbol}: no decision at all: {_cold(run, player)}")
        elif warm_s > player.begin_s:
            found.append(
                f"{player.symbol}: no decisions before {utc(warm_s)}, when the "
                f"warm-up of {run.plan.params.warm_min} minutes ended"
            )
    if 0 < metrics.trades < FEW_TRADES:
        found.append(
            f"only {metrics.trades} trades: below {FEW_TRADES} these figures say next to nothing "
            "about the future"
        )
    if any(trade.open_at_end for trade in run.broker.trades):
        found.append(
            "a position was still open when the data ended; it is closed at the last price"
        )
    return found
