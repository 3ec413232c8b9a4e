"""Takes a decision once more, from the bars that are stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aggr_server.wire import Gap, Market
from services.explain.store import ExplainError, Stored
from services.market.aggregate import Aggregator, preferred_market
from services.market.backfill import FilledHistory
from services.market.bars import ClosedBars
from services.market.history import CHUNK_S, History, OpenInterestSeries
from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.types import (
    Entry,
    Event,
    Exit,
    Minute,
    OpenPosition,
    Second,
    State,
    Transition,
)
from services.trading.loader import SCALE_MINUTES
from services.trading.symbol import remembered

NEAR_S = 10
"""A decision that comes out this many seconds earlier or later still counts as the same one."""
AFTER_S = 900
Progress = Callable[[float], None]


@dataclass(slots=True)
class Rebuilt:
    """What came out. `t`: the second of the decision, None if it was not taken again.

    `record`: the five phases at `t`, else at the recorded second. `kind`: the event's reason for an
    exit, the reset's type for an entry. `seconds`: what the strategy was fed with, and `after_s`
    more. `first_s`: the first of them. `oldest_s`: the first second that is stored at all.
    `filled`: the minutes the scales rest on that come from candles.
    """

    params: Params
    first_s: int = 0
    wanted_first_s: int = 0
    oldest_s: int | None = None
    minutes: int = 0
    t: int | None = None
    kind: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    seconds: list[Second] = field(default_factory=list)
    moves: list[Transition] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    adopted: bool = False
    filled: tuple[int, ...] = ()


class Replay:
    """Rebuilds one signal's decision.

    `known`: the symbol's recorded signals, the one in question among them. What became of those
    before it is taken from the record, so that the strategy meets what it met then. `filled`: given
    if missing minutes were filled from candles then.
    """

    def __init__(
        self,
        history: History,
        markets: Sequence[Market],
        exchange: str,
        params: Params,
        base: str,
        signal: Stored,
        known: Sequence[Stored],
        filled: FilledHistory | None = None,
    ) -> None:
        self._history = history
        self._filled = filled
        self._markets = list(markets)
        self._exchange = exchange
        self._signal = signal
        self._known = known
        self._parent = next((s for s in known if s.signal_id == signal.parent_signal_id), None)
        self._base = base
        self._engine = SymbolEngine(base, params)
        self._aggregator = Aggregator(self._markets, exchange)
        self._oi = OpenInterestSeries()
        self._open: Stored | None = None
        self._waiting: Stored | None = None
        self.found = Rebuilt(params)

    async def run(self, now_s: int, progress: Progress) -> Rebuilt:
        """Rebuild. Raises `ExplainError`, `InfluxError`, `InfluxUnavailable`."""
        end = self._signal.t + 1
        first = await self._begin()
        async for closed in self._bars(first, end + NEAR_S):
            self._step(closed)
            progress((closed.t - first) / (end + NEAR_S - first))
            if self.found.t is not None and closed.t >= self._signal.t:
                break
            if closed.t == self._signal.t:
                self.found.record = self._engine.view()
        last = self.found.seconds[-1].t if self.found.seconds else end
        async for closed in self._bars(last + 1, min(end + AFTER_S, now_s - 5)):
            self._aggregate(closed)
        return self.found

    async def _begin(self) -> int:
        """Load what precedes the seconds; the first second to replay."""
        found, params = self.found, self.found.params
        begun = self._signal.t if self._parent is None else min(self._signal.t, self._parent.t)
        wanted = (begun + 1 - params.lookback_s) // 60 * 60
        found.oldest_s = await self._history.oldest_second(self._markets)
        if found.oldest_s is None or found.oldest_s > self._signal.t - 60:
            raise ExplainError(
                f"The one-second bars of {self._signal.symbol} that the decision rests on are no "
                "longer stored, so it cannot be rebuilt. They are kept for INFLUX_RETENTION_1S."
            )
        first = max(wanted, -(-found.oldest_s // 60) * 60)
        from_s = wanted - (SCALE_MINUTES - params.lookback_s // 60) * 60
        minutes, whole_from = await self._minutes(from_s, first, begun)
        first = max(first, whole_from)
        found.first_s, found.wanted_first_s = first, max(wanted, whole_from)
        self._oi = await self._history.open_interest(self._base, from_s, self._signal.t + AFTER_S)
        found.minutes = len(minutes)
        self._engine.preload_minutes(
            [minute._replace(oi=self._oi.at(minute.t + 59)) for minute in minutes]
        )
        volumes = await self._history.volumes(self._markets, first - 86_400, first)
        self._aggregator.seed(volumes, minutes[-1].close if minutes else None)
        found.gaps = await self._history.gaps(self._markets, first, self._signal.t + 1)
        return first

    async def _minutes(self, from_s: int, first: int, begun: int) -> tuple[list[Minute], int]:
        """Those before the seconds, and the second before which no seconds may be used.

        What could be filled only after `begun` was not known when it was decided.
        """
        reference = preferred_market(self._markets, self._exchange)
        if reference is None:
            return [], 0
        if self._filled is None:
            return await self._history.minutes(self._markets, reference, from_s, first), 0
        end = (begun + 1) // 60 * 60
        filled = await self._filled.minutes(self._markets, reference, from_s, end)
        self.found.filled = remembered(filled.minutes, begun, self.found.params)
        first = max(first, filled.whole_from)
        return filled.table.axis(first), filled.whole_from

    async def _bars(self, from_s: int, to_s: int) -> AsyncIterator[ClosedBars]:
        for start in range(from_s, to_s, CHUNK_S):
            end = min(start + CHUNK_S, to_s)
            bars = await self._history.seconds(self._markets, start, end)
            for t in range(start, end):
                silent = frozenset(g.market for g in self.found.gaps if g.from_s <= t < g.to_s)
                yield ClosedBars(t, {self._base: bars.pop(t, {})}, silent=silent)

    # The decisions before, as they were answered then

    def _step(self, closed: ClosedBars) -> None:
        if (second := self._aggregate(closed)) is None:
            return
        for event in self._engine.step(second):
            self._answer(event)
        self._report(closed.t)

    def _aggregate(self, closed: ClosedBars) -> Second | None:
        second = self._aggregator.closed(closed, self._base, self._oi.at(closed.t))
        if second is not None:
            self.found.seconds.append(second)
        return second

    def _answer(self, event: Event) -> None:
        if isinstance(event, Transition):
            self.found.moves.append(event)
        elif isinstance(event, Entry):
            self._entered(event)
        elif isinstance(event, Exit) and self._is_target(event.t, "CLOSE"):
            self._decided(event.t, event.reason, event.record)

    def _entered(self, event: Entry) -> None:
        action = "LONG" if event.direction > 0 else "SHORT"
        if self._is_target(event.t, action):
            count = len(self.found.filled)
            filled = {"backfilled_minutes": count} if count else {}
            self._decided(event.t, event.reset_type, {**event.record, **filled})
        published = self._near(event.t, action)
        if published is None:
            self._note(self._engine.refuse("not published"))
            return
        self._waiting = published
        self._note(self._engine.accept(published.signal_id))

    def _report(self, t: int) -> None:
        """Tell the strategy of fills and ends that were recorded for this second."""
        engine = self._engine
        waiting, held = self._waiting, self._open
        if waiting is not None and waiting.fill_s is not None and waiting.fill_s <= t:
            price = waiting.fill_price or waiting.entry_price
            spliced = self._aggregator.reference.spliced_price(price)
            self._note(engine.filled(waiting.fill_s, waiting.trade_id or 0, spliced))
            self._open, self._waiting = waiting, None
        elif held is not None and held.exit_s is not None and held.exit_s <= t:
            self._note(engine.position_closed(t, held.exit_reason or "closed"))
            self._open = None
        elif self._must_adopt(t):
            self._adopt(t)

    def _must_adopt(self, t: int) -> bool:
        """Whether the position was open then and the strategy did not find its way into it."""
        parent = self._parent
        if parent is None or parent.fill_s is None or self.found.adopted or t < parent.fill_s:
            return False
        return self._open is None and self._engine.state is not State.IN_POSITION

    def _adopt(self, t: int) -> None:
        parent = self._parent
        if parent is None or parent.fill_s is None or self._engine.t is None:
            return
        reference = self._aggregator.reference
        price = parent.fill_price or parent.entry_price
        level = parent.invalidation_price
        exits = self._signal.decision.get("exit") or {}
        self._note(
            self._engine.adopt(
                OpenPosition(
                    trade_id=parent.trade_id or 0,
                    direction=1 if parent.action == "LONG" else -1,
                    entry_t=min(parent.fill_s, t),
                    entry_price=reference.spliced_price(price),
                    invalidation_price=None if level is None else reference.spliced_price(level),
                    r5=exits.get("r5"),
                    score=parent.score,
                    signal_id=parent.signal_id,
                    setup_id=parent.setup_id,
                )
            )
        )
        self._open, self._waiting, self.found.adopted = parent, None, True

    def _is_target(self, t: int, action: str) -> bool:
        signal = self._signal
        return self.found.t is None and action == signal.action and abs(t - signal.t) <= NEAR_S

    def _decided(self, t: int, kind: str, record: Any) -> None:
        self.found.t, self.found.kind, self.found.record = t, kind, dict(record)

    def _near(self, t: int, action: str) -> Stored | None:
        fitting = [s for s in self._known if s.action == action and abs(s.t - t) <= NEAR_S]
        return min(fitting, key=lambda s: abs(s.t - t), default=None)

    def _note(self, events: Sequence[Event]) -> None:
        self.found.moves += [event for event in events if isinstance(event, Transition)]
