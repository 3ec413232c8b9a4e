"""What the strategy, with its real parameters, sees in the market of the demo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from services.core.settings import SimulatorSettings
from services.simulator.bars import Bars
from services.simulator.ledger import Ledger
from services.simulator.market import Market
from services.simulator.model import HISTORY_S
from services.simulator.venues import INSTRUMENTS
from services.strategy.engine import SymbolEngine
from services.strategy.types import Entry, Exit, Minute, Second, State

from .conftest import LIVE_FROM

REPLAY_S = 14_400
ROUND_TRIP_FEES = 0.001
REFERENCE = "BINANCE_FUTURES"


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Market]:
    ledger = Ledger(tmp_path, INSTRUMENTS)
    yield Market(SimulatorSettings().simulator_seed, INSTRUMENTS, ledger)
    ledger.close()


def seconds(market: Market, base: str, start: int, end: int, *, exact: bool) -> Iterator[Second]:
    """Seconds as the runner assembles them from the bars of all markets."""
    sums = {kind: np.zeros((2, end - start)) for kind in ("spot", "perp")}
    reference: Bars | None = None
    for instrument in (i for i in INSTRUMENTS if i.base == base):
        bars = (market.bars if exact else market.coarse_bars)(instrument, start, end)
        at = bars.time - start
        sums[instrument.kind][0][at] += bars.vbuy - bars.vsell
        sums[instrument.kind][1][at] += bars.vbuy + bars.vsell
        if instrument.exchange == REFERENCE:
            reference = bars
    assert reference is not None
    spot, perp = sums["spot"], sums["perp"]
    columns = (
        *(spot[0], perp[0], spot[1], perp[1]),
        *(reference.open, reference.high, reference.low, reference.close),
    )
    path = market.model.paths[base]
    interest = path.base.open_interest * np.exp(path.seconds(start, end).oi)
    for number, row in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        t = start + number + LIVE_FROM
        spot_delta, perp_delta, spot_volume, perp_volume, opened, high, low, close = row
        sampled = max(0, number - t % 60)
        oi = {
            i.exchange: float(interest[sampled]) * i.oi_share
            for i in INSTRUMENTS
            if i.base == base and i.kind == "perp"
        }
        flow = (spot_delta, perp_delta, spot_volume, perp_volume)
        yield Second(t, *flow, opened, high, low, close, oi=oi)


def minutes(market: Market, base: str, start: int, end: int) -> Iterator[Minute]:
    pending: list[Second] = []
    for second in seconds(market, base, start, end, exact=False):
        pending.append(second)
        if second.t % 60 == 59:
            yield Minute(
                pending[0].t,
                sum(s.spot_delta for s in pending),
                sum(s.perp_delta for s in pending),
                sum(s.spot_volume for s in pending),
                sum(s.perp_volume for s in pending),
                pending[0].open,
                max(s.high for s in pending),
                min(s.low for s in pending),
                second.close,
                second.oi,
            )
            pending.clear()


class Story:
    """Entries and exits in seconds since live trading began; fills come a second later."""

    def __init__(self, market: Market, base: str, until: int) -> None:
        self.engine = SymbolEngine(base)
        self.before: list[int] = []
        self.state_at_start = State.WARMUP
        self.entry: Entry | None = None
        self.exit: Exit | None = None
        self.fill = 0.0
        first = -REPLAY_S - (LIVE_FROM - REPLAY_S) % 60
        oldest = -HISTORY_S + -(LIVE_FROM - HISTORY_S) % 60
        self.engine.preload_minutes(list(minutes(market, base, oldest, first)))
        for second in seconds(market, base, first, until, exact=True):
            self._step(second)

    def _step(self, second: Second) -> None:
        if second.t == LIVE_FROM:
            self.state_at_start = self.engine.state
        for event in self.engine.step(second):
            if isinstance(event, Entry) and second.t < LIVE_FROM:
                self.before.append(second.t - LIVE_FROM)
                self.engine.expire()
            elif isinstance(event, Entry):
                self.entry = event
                self.engine.accept("signal")
            elif isinstance(event, Exit):
                self.exit = self.exit or event
                self.engine.position_closed(second.t, event.reason)
        if self.entry and not self.fill and second.t == self.entry.t + 1:
            self.fill = second.close
            self.engine.filled(second.t, 1, second.close)


def test_the_first_squeeze_is_entered_and_left_within_minutes_at_a_profit(demo: Market) -> None:
    story = Story(demo, "BTC", 400)
    assert story.state_at_start is State.RESET
    assert story.entry is not None
    assert story.exit is not None
    assert 60 <= story.entry.t - LIVE_FROM <= 100
    assert 100 <= story.exit.t - story.entry.t <= 200
    assert story.entry.direction == 1
    assert story.entry.oi_state == "STRONG"
    assert story.exit.price / story.fill - 1 > 2 * ROUND_TRIP_FEES


def test_a_short_squeeze_of_the_other_symbol_follows(demo: Market) -> None:
    story = Story(demo, "ETH", 800)
    assert story.state_at_start is State.DIVERGENCE
    assert story.entry is not None
    assert story.exit is not None
    assert 400 <= story.entry.t - LIVE_FROM <= 500
    assert story.entry.direction == -1
    assert 1 - story.exit.price / story.fill > 2 * ROUND_TRIP_FEES
