"""A day of one symbol in a backtest, evaluated each second: CPU time, and equality."""

from __future__ import annotations

import gc
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from services.backtest.result import Costs
from services.backtest.run import Plan, Run
from services.backtest.sources.tape import SecondBars, Tape, tape_of
from services.strategy.params import Params
from tests.unit.market.worlds import market
from tests.unit.strategy.scenarios import (
    LEAD_S,
    SCENARIOS,
    Market,
    Scenario,
    Segment,
    generate,
)

DAY_S = 86_400
QUIET_S = 18_000
ROUNDS = 5
_SHARES = (0.7, 0.6, 0.3, 0.4)


def run() -> dict[str, Any]:
    """One day, after one of history, of two spot and two perpetual markets with three squeezes.

    `seconds_24h`: CPU seconds of one core for the evaluated day through the whole backtest, least
    of some rounds; `seconds_history`: for the history before it. `seconds_plain`: the day with
    every second stepped through the live desk. `equal`: both give the same events, trades, equity
    and final state, bit for bit. `stepped_s`: seconds of the day that were stepped, not skipped.
    """
    with tempfile.TemporaryDirectory(prefix="backtest-") as folder:
        tape = _tape(Path(folder))
        rounds = [_timed(tape, skipping=True) for _ in range(ROUNDS)]
        quick = rounds[-1]
        plain = _timed(tape, skipping=False)
    return {
        "seconds_24h": round(min(r["day_s"] for r in rounds), 3),
        "seconds_plain": round(plain["day_s"], 3),
        "equal": quick["outcome"] == plain["outcome"],
        "seconds_history": round(min(r["history_s"] for r in rounds), 3),
        "rounds": [round(r["day_s"], 3) for r in rounds],
        "stepped_s": sum(quick["stepped"].values()),
        "stepped_in": dict(sorted(quick["stepped"].items())),
        "trades": quick["trades"],
        "markets": len(tape.markets),
    }


class _Counted(Run):
    """Notes in which state a second was stepped."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.stepped: Counter[str] = Counter()

    def _second(self, t: int, due: Any) -> None:
        for player in due:
            self.stepped[str(player.trader.engine.state)] += 1
        super()._second(t, due)


def _timed(tape: Tape, *, skipping: bool) -> dict[str, Any]:
    """Loading and running are timed apart; the columns are read into memory before."""
    begin = tape.end_s - DAY_S
    plan = Plan(
        (tape,), {"BTC": tape.markets[0]}, begin, tape.end_s, Params(), Costs(), skipping=skipping
    )
    made = _Counted(plan)
    player = made.players[0]
    gc.collect()
    started = time.process_time()
    player.load()
    loaded = time.process_time()
    with patch.object(player, "load"):  # it is loaded
        made.go()
    ended = time.process_time()
    engine = player.trader.engine
    return {
        "history_s": loaded - started,
        "day_s": ended - loaded,
        "stepped": made.stepped,
        "trades": len(made.broker.trades),
        "outcome": (
            made.broker.trades,
            made.marks,
            made.ledger.signals,
            made.ledger.spans,
            made.validator.refusals,
            engine.snapshot(),
            engine.view(),
            vars(player.trader.aggregator.members),
            vars(player.trader.aggregator.reference),
        ),
    }


def _tape(folder: Path) -> Tape:
    quiet = Segment(QUIET_S, price_noise=1.0)
    squeezes = [s for name in ("S1", "S2", "S3") for s in (*SCENARIOS[name].segments, quiet)]
    rest = 2 * DAY_S - LEAD_S - sum(s.seconds for s in squeezes)
    made = generate(Scenario((Segment(rest, price_noise=1.0), *squeezes)))
    return tape_of("BTC", "bars", _bars(made), folder)


def _bars(made: Market) -> list[SecondBars]:
    t = np.arange(made.start, made.start + len(made))
    opened, high, low, close = (np.exp(p) for p in (made.open, made.high, made.low, made.x))
    found = []
    for i, share in enumerate(_SHARES, 1):
        spot = i % 2 == 0
        delta = share * (made.spot_delta if spot else made.perp_delta)
        volume = share * (made.spot_volume if spot else made.perp_volume)
        listed = market(i, "spot" if spot else "perp")
        buy, sell = (volume + delta) / 2.0, (volume - delta) / 2.0
        found.append(SecondBars(listed, t, opened, high, low, close, buy, sell))
    return found
