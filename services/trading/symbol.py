"""One traded symbol: its bars, its engine, its signal and position."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from services.core.records import Signal
from services.market.aggregate import Aggregator
from services.market.bars import ClosedBars
from services.market.bulk import fold
from services.market.columns import Columns
from services.market.history import OpenInterestSeries
from services.market.symbols import pair_of, symbol_of
from services.signal_validator import Memory
from services.strategy.block import Block
from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.types import Event, Second, State
from services.trading.signals import Holding, Names

CVD_KEPT_S = 300
MAX_BACKLOG_S = 3600
SHORT_PIECE_S = 240
LONG_PIECE_S = 3840
"""Seconds skipped at once: few at first, because those before an event are processed twice."""


class Saved(msgspec.Struct):
    """What `squeezeflow:state:{symbol}` holds. `t`: the last second it contains.

    `memory`: what the validator remembers of the symbol's signals.
    """

    t: int
    engine: dict[str, Any]
    execution_factor: float
    signal: Signal | None = None
    holding: Holding | None = None
    state: str = ""
    memory: Memory | None = None


def remembered(minutes: Iterable[int], t: int, params: Params) -> tuple[int, ...]:
    """Those of `minutes` that the scales still rest on at second `t`."""
    oldest = t - 60 * (params.hist_min + max(params.scale_windows))
    return tuple(minute for minute in minutes if minute > oldest)


class SymbolTrader:
    """Everything of one symbol.

    `live`: led by this replica, seconds go straight through the engine. `standby`: another replica
    leads it; seconds become history some time after they have come, so that the state the leader
    saves meanwhile can be put onto it. Until they are used, seconds wait in the backlog.
    `resumed`: it goes on from a state that its last leader saved. `refusal`: why the last signal
    was not taken, for people.
    """

    def __init__(
        self,
        base: str,
        params: Params,
        execution_exchange: str,
        engine: Callable[..., SymbolEngine] = SymbolEngine,
    ) -> None:
        self.names = Names(base, symbol_of(base), pair_of(base))
        self.params = params
        self._exchange = execution_exchange
        self._make_engine = engine
        self.backlog: deque[ClosedBars] = deque(maxlen=MAX_BACKLOG_S)
        self.arrived = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        """Forget everything but the name and the seconds that wait: not loaded."""
        self.engine = self._make_engine(self.names.base, self.params, epoch=uuid.uuid4().hex)
        self.aggregator = Aggregator((), self._exchange)
        self.oi = OpenInterestSeries()
        self.live = False
        self.standby = False
        self.resumed = False
        self.signal: Signal | None = None
        self.holding: Holding | None = None
        self.last: Second | None = None
        self.published_ms = 0
        self.unsaved = False
        self.filled: tuple[int, ...] = ()
        self.usable_at: int | None = None
        self.refusal = ""
        self._cvds: deque[tuple[int, float, float]] = deque(maxlen=CVD_KEPT_S)

    def stand_by(self) -> None:
        """Lead the symbol no longer; go on following it if it was loaded."""
        if self.live:
            self.live, self.standby = False, True
            self.signal, self.holding = None, None
            self.unsaved = False
        elif not self.standby:
            self.reset()

    def pause(self) -> None:
        """Let the seconds wait from here on, to be loaded anew."""
        self.live = self.standby = False
        self.backlog.clear()
        self.arrived.clear()

    @property
    def filled_minutes(self) -> int:
        """Minutes in the scales' history that come from candles, not from collectors."""
        if not self.filled or self.engine.t is None:
            return 0
        return len(remembered(self.filled, self.engine.t, self.params))

    def put_aside(self, closed: ClosedBars) -> None:
        """Keep a second until it is used."""
        self.backlog.append(closed)
        self.arrived.set()

    async def next_one(self) -> None:
        """Wait for a further second in the backlog."""
        self.arrived.clear()
        await self.arrived.wait()

    @property
    def newest(self) -> int:
        """The newest second that is here, used or waiting."""
        return self.backlog[-1].t if self.backlog else self.engine.t or 0

    def follow(self, until: int) -> None:
        """Take the seconds that wait, up to `until`, as history, without deciding."""
        while self.backlog and self.backlog[0].t <= until:
            second = self.aggregate(self.backlog.popleft())
            if second is not None:
                self.remember(second)

    def remember(self, second: Second) -> None:
        """Take a second as history, without deciding. Raises `ValueError` if it does not follow."""
        self.engine.preload_seconds((second,))
        self._cvds.append((second.t, self.engine.c_spot, self.engine.c_perp))

    def aggregate(self, closed: ClosedBars) -> Second | None:
        """The symbol's part of a closed second; None before its first price."""
        second = self.aggregator.closed(closed, self.names.base, self.oi.at(closed.t))
        self.published_ms = closed.published_ms
        if second is not None:
            self.last = second
        if closed.t % 3600 == 0:
            self.oi.forget_before(closed.t)
        return second

    def step(self, closed: ClosedBars) -> list[Event]:
        """Process the next second."""
        second = self.aggregate(closed)
        if second is None:
            return []
        events = self.engine.step(second)
        self._cvds.append((second.t, self.engine.c_spot, self.engine.c_perp))
        return events

    def skip(self, columns: Columns, t: int, to_s: int) -> int:
        """Process as many of the seconds [t, to_s) as certainly lead to no event.

        Returns the first one not processed, to be stepped with `columns.closed`. Everything is left
        bit for bit as if each second had been stepped; the backlog is not looked at.
        """
        piece_s = SHORT_PIECE_S
        while t < to_s:
            most = self.engine.skips(t)
            stop = min(t + piece_s if most is None else t + min(piece_s, most), to_s)
            if stop == t:
                break
            before = self.aggregator.checkpoint()
            block = fold(self.aggregator, columns, t, stop, self.oi.at)
            if block is None:
                break
            taken = self.engine.skip(block)
            if taken < len(block):
                self.aggregator.rewind(before)
                fold(self.aggregator, columns, t, t + taken, self.oi.at)
            self._skipped(block, taken)
            t += taken
            if t < stop:
                break
            piece_s = min(2 * piece_s, LONG_PIECE_S)
        return t

    def _skipped(self, block: Block, taken: int) -> None:
        if not taken:
            return
        self.last = block.second(taken - 1)
        self.published_ms = 0
        kept = min(taken, CVD_KEPT_S)
        first = self.last.t + 1 - kept
        cvds = enumerate(self.engine.cvds(kept), first)
        self._cvds.extend((second, spot, perp) for second, (spot, perp) in cvds)
        hour = self.last.t // 3600 * 3600
        if hour >= block.t:
            self.oi.forget_before(hour)

    def cvd_at(self, t: int) -> tuple[float, float]:
        """Spot and perp CVD at the close of second `t`, the nearest known one if it is not kept."""
        if not self._cvds:
            return self.engine.c_spot, self.engine.c_perp
        i = min(max(t - self._cvds[0][0], 0), len(self._cvds) - 1)
        return self._cvds[i][1:]

    def known_since(self, t: int) -> int:
        """The first second not before `t` of which the CVD is kept."""
        return max(t, self._cvds[0][0]) if self._cvds else self.engine.t or t

    @property
    def price(self) -> float:
        """Last price of the execution market, 0 before the first."""
        close = self.aggregator.reference.close
        return 0.0 if close is None else self.aggregator.reference.execution_price(close)

    @property
    def opened_ms(self) -> int | None:
        """When the position was filled, ms."""
        return self.holding.opened_ms if self.holding else None

    @property
    def has_position(self) -> bool:
        """Whether a position is open."""
        return self.engine.state in (State.IN_POSITION, State.CLOSING)

    @property
    def takes_slot(self) -> bool:
        """Whether a position is open or a signal waits for its fill."""
        return self.has_position or self.engine.state is State.ENTRY_READY

    def saved(self) -> Saved | None:
        """What has to survive a restart; None before the first second."""
        if self.engine.t is None:
            return None
        return Saved(
            t=self.engine.t,
            engine=self.engine.snapshot(),
            execution_factor=self.aggregator.reference.execution_price(1.0),
            signal=self.signal,
            holding=self.holding,
            state=str(self.engine.state),
        )

    def resume(self, saved: Saved) -> None:
        """Continue from `saved`; history up to exactly its second must be loaded.

        Raises ValueError if it does not fit, which leaves the engine unusable.
        """
        factor = self.aggregator.reference.execution_price(1.0)
        if abs(factor / saved.execution_factor - 1.0) > 1e-9:
            raise ValueError("prices are spliced differently")
        spot, perp = self.engine.c_spot, self.engine.c_perp
        self.engine.restore(saved.engine)
        spot, perp = self.engine.c_spot - spot, self.engine.c_perp - perp
        shifted = [(t, s + spot, p + perp) for t, s, p in self._cvds]
        self._cvds = deque(shifted, maxlen=CVD_KEPT_S)
        self.signal, self.holding = saved.signal, saved.holding
        self.resumed = True
