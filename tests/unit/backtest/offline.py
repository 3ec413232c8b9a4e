"""Markets on tape, made of the scenarios whose outcome is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from aggr_server.wire import Market
from services.backtest.result import Costs
from services.backtest.run import Plan, Run
from services.backtest.sources.tape import SecondBars, Tape, tape_of
from services.market.history import OpenInterestSeries
from services.strategy.params import Params
from tests.unit.strategy import scenarios

SPOT = Market("BINANCE:btcusdt", "BINANCE", "BTC", "USDT", "spot")
PERP = Market("BINANCE_FUTURES:btcusdt", "BINANCE_FUTURES", "BTC", "USDT", "perp")

FREE = Costs(fee_rate=0.0, slippage_bp=0.0, fill_delay_s=0)
"""Filled at once and without costs, as the scenarios' known outcomes are."""


def bars_of(source: scenarios.Market) -> list[SecondBars]:
    """A spot and a perpetual market with the scenario's flows and prices."""
    t = np.arange(source.start, source.start + len(source))
    o, h, low, c = (np.exp(values) for values in (source.open, source.high, source.low, source.x))
    found = []
    for market, delta, volume in (
        (SPOT, source.spot_delta, source.spot_volume),
        (PERP, source.perp_delta, source.perp_volume),
    ):
        buy, sell = (volume + delta) / 2, (volume - delta) / 2
        found.append(SecondBars(market, t, o, h, low, c, buy, sell))
    return found


def open_interest_of(source: scenarios.Market) -> OpenInterestSeries:
    """One sample a minute; empty without open interest."""
    series = OpenInterestSeries()
    if source.oi is not None:
        for i in range(0, len(source), 60):
            series.add("BINANCE_FUTURES", source.start + i, float(source.oi[i]))
    return series


def tape(name: str, folder: Path, base: str = "BTC") -> Tape:
    """The market of a scenario."""
    source = scenarios.generate(scenarios.SCENARIOS[name])
    made = tape_of(base, "bars", bars_of(source), folder)
    return dataclasses.replace(
        made, oi=open_interest_of(source), oi_samples=int(source.oi is not None)
    )


def plan(
    tape: Tape,
    *,
    costs: Costs = FREE,
    params: Params | None = None,
    from_s: int | None = None,
    to_s: int | None = None,
    skipping: bool = True,
) -> Plan:
    """A run over the whole tape, or part of it."""
    return Plan(
        (tape,),
        {tape.base: PERP},
        tape.first_s if from_s is None else from_s,
        tape.end_s if to_s is None else to_s,
        params or Params(),
        costs,
        skipping,
    )


def run(chosen: Plan) -> Run:
    """The finished run."""
    made = Run(chosen)
    made.go()
    return made
