"""C17: no frame, however broken, ends a parser or gets into a bar uncounted."""

from __future__ import annotations

import os
import random
from math import isfinite

import msgspec
import pytest

from aggr_server.bars import FUTURE_S, BarBuilder
from aggr_server.exchanges.base import Instrument, Liquidation, Trade, Window
from aggr_server.markets import MarketState
from aggr_server.wire import FLOAT_FIELDS, Bar
from tests.unit.aggr_server.exchanges import fixture_files
from tests.unit.aggr_server.exchanges.fixture_files import NAMES, Fixtures
from tests.unit.aggr_server.exchanges.fuzz import Mutator, decompressed

ALLOWED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
SEED = int(os.environ.get("FUZZ_SEED", "17"))
IN_THE_GATE = 2_000
SLOWLY = 100_000
ROUND = 500
KEEP_S = 300


class Pipeline:
    """From events to bars as in the collector, at `now_ms`."""

    def __init__(self, venue: Fixtures, now_ms: int) -> None:
        self.offered = 0
        self.unknown = 0
        self._builder = BarBuilder(keep_s=KEEP_S)
        self._builder.advance(now_ms)
        self._second = now_ms // 1000
        self._states: dict[str, MarketState] = {}
        adapter = venue.adapter
        for i in venue.instruments:
            if i.contract_size is not None:
                series = self._builder.series(adapter.market(i))
                self._states[i.wire] = MarketState(adapter, i, series)

    def take(self, event: Trade | Liquidation) -> None:
        assert type(event.ts_ms) is int
        assert type(event.price) is float
        assert type(event.size) is float
        assert type(event.is_buy) is bool
        self.offered += 1
        state = self._states.get(event.wire)
        if state is None:
            self.unknown += 1
        elif isinstance(event, Trade):
            state.trade(event)
        else:
            state.liquidation(event)

    def close(self) -> int:
        """Close all that is open, look at every bar, and count: each event must be found again."""
        builder = self._builder
        bars: list[Bar] = []
        for closed in builder.advance((self._second + FUTURE_S + 5) * 1000):
            bars += closed.bars + closed.amended
        for bar in bars:
            self._check(bar)
        states = self._states.values()
        counted = sum(s.trades + s.liquidations for s in states)
        refused = sum(s.invalid + s.duplicates for s in states)
        refused += builder.too_late + builder.ahead + builder.early
        assert counted + refused + self.unknown == self.offered
        if counted:
            assert bars
        return counted

    def _check(self, bar: Bar) -> None:
        assert self._second - KEEP_S - 2 <= bar.time <= self._second + FUTURE_S + 2, bar
        for field in FLOAT_FIELDS:
            assert isfinite(getattr(bar, field)), bar
            assert getattr(bar, field) >= 0.0, bar
        assert 0.0 < bar.low <= min(bar.open, bar.close), bar
        assert bar.high >= max(bar.open, bar.close), bar
        assert (bar.vbuy > 0.0) == (bar.cbuy > 0), bar
        assert (bar.vsell > 0.0) == (bar.csell > 0), bar


def _hammer(name: str, frames: int, seed: int) -> None:
    print(f"FUZZ_SEED={seed} {name}")
    venue = fixture_files.of(name)
    real = venue.frames
    mutator = Mutator(real, seed)
    moments = [e["ts_ms"] for kind in ("trade", "liquidation") for e in venue.described(kind)]
    chance = random.Random(seed)
    read = refused = counted = 0
    for start in range(0, frames, ROUND):
        parse = venue.adapter.session()
        pipeline = Pipeline(venue, chance.choice(moments))
        for frame in real:
            parse(frame)
        for _ in range(min(ROUND, frames - start)):
            frame = mutator.frame()
            try:
                events = parse(frame)
            except ALLOWED:
                refused += 1
                continue
            except Exception as error:
                shown = decompressed(frame)[:2000]
                raise AssertionError(f"FUZZ_SEED={seed}: {error!r} at {shown!r}") from error
            read += 1
            for event in events:
                if isinstance(event, Trade | Liquidation):
                    pipeline.take(event)
        counted += pipeline.close()
    assert read + refused == frames
    assert refused
    assert counted


@pytest.mark.parametrize("name", NAMES)
def test_c17_mutated_frames_are_refused_or_counted(name: str) -> None:
    _hammer(name, IN_THE_GATE, SEED)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_c17_a_hundred_thousand_mutated_frames(name: str) -> None:
    _hammer(name, SLOWLY, SEED + 1)


@pytest.mark.parametrize("name", NAMES)
def test_c17_frames_of_ten_megabytes(name: str) -> None:
    venue = fixture_files.of(name)
    parse = venue.adapter.session()
    for frame in Mutator(venue.frames, SEED).huge():
        assert len(decompressed(frame)) >= 10_000_000
        try:
            events = parse(frame)
        except ALLOWED:
            continue
        assert all(isfinite(e.price) for e in events if isinstance(e, Trade))


@pytest.mark.parametrize("name", NAMES)
def test_mutated_answers_of_rest_are_refused_or_read(name: str) -> None:
    venue = fixture_files.of(name)
    adapter = venue.adapter
    listed = {adapter.market(i): i for i in venue.instruments}
    for path in venue.answers():
        mutator = Mutator([path.read_bytes()], SEED)
        for _ in range(100):
            _try(lambda body: _look_at(adapter.instruments(body).instruments), mutator.frame())
    for recovery in venue.recoveries.values():
        instrument = listed[recovery.market]
        window = Window(recovery.from_ms, recovery.to_ms)
        for step in recovery.steps:
            mutator = Mutator([bytes(step.answer)], SEED)
            for _ in range(100):
                _try(lambda body, i=instrument, w=window: adapter.read_past(i, w, body),
                     mutator.frame())  # fmt: skip


def _look_at(instruments: list[Instrument]) -> None:
    for instrument in instruments:
        assert isinstance(instrument.symbol, str)
        assert instrument.contract_size is None or isinstance(instrument.contract_size, float)


def _try(read: object, body: bytes) -> None:
    assert callable(read)
    try:
        read(body)
    except ALLOWED:
        pass
    except Exception as error:
        raise AssertionError(f"{error!r} at {body[:2000]!r}") from error
