"""Which streams are mute: suspected by their own silence, judged by what the venue knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from aggr_server import clock
from aggr_server.markets import MarketState
from aggr_server.streams import StreamState
from aggr_server.throttle import Budget

IN_FLIGHT_S = 2.0
"""A trade that REST already knows may take this long to arrive."""

REST_BEHIND_S = 10.0
"""A trade that has arrived may take this long to be known to REST."""

CLOCK_ERROR_MS = 1000
"""A trade this much after a confirmation must have been sent to us, whatever the clocks say."""

BLIND_S = 30.0
"""How long a venue that did not answer is not asked again about the same stream."""

AT_ONCE = 4
BURST = 20
REFILL_S = 2.0


class Prover(Protocol):
    """Who can ask a venue's REST interface."""

    async def newest_trade_ms(self, market: MarketState) -> int | None:
        """Exchange time of the newest trade REST knows; None if it cannot be told."""


class Doubts:
    """Observes the streams of one venue and finds those that are mute.

    Questions to the venue are bounded: a few at once, and one in two seconds in the long run; the
    most striking silence comes first. `busy`: whether a base coin trades on other venues.
    """

    def __init__(
        self,
        prover: Prover,
        on_mute: Callable[[StreamState], None],
        busy: Callable[[str], bool] | None = None,
    ) -> None:
        self._prover = prover
        self._on_mute = on_mute
        self._busy = busy
        self._budget = Budget(BURST, REFILL_S)
        self._asking: set[StreamState] = set()
        self._blind_until: dict[StreamState, float] = {}
        self._looked_s = clock.monotonic()

    def look(self, states: Iterable[StreamState], group: asyncio.TaskGroup) -> None:
        """Call about once a second; questions are asked by tasks of `group`."""
        now_s, now_ms = clock.monotonic(), clock.now_ms()
        elapsed_s = now_s - self._looked_s
        self._looked_s = now_s
        suspects = []
        for state in states:
            state.observe(now_s, elapsed_s, now_ms)
            if not state.judged or state in self._asking:
                continue
            suspicion = state.watch.suspicion(now_s)
            if suspicion >= 1.0 or state in self._blind_until:
                suspects.append((suspicion, state))
        suspects.sort(key=lambda pair: -pair[0])
        for suspicion, state in suspects:
            self._suspect(state, suspicion, now_s, group)

    def forget(self, state: StreamState) -> None:
        """It is no longer followed."""
        self._blind_until.pop(state, None)

    def _suspect(
        self, state: StreamState, suspicion: float, now_s: float, group: asyncio.TaskGroup
    ) -> None:
        if state.watch.sparse:
            self._on_mute(state)
        elif self._blind_until.get(state, 0.0) > now_s:
            self._judge_by_rate(state, now_s)
        elif suspicion < 1.0:
            del self._blind_until[state]
        elif len(self._asking) < AT_ONCE and self._budget.spend(now_s):
            self._asking.add(state)
            group.create_task(self._question(state))

    async def _question(self, state: StreamState) -> None:
        lane, count, asked_ms = state.lane, state.heard_events(), clock.now_ms()
        try:
            newest_ms = await self._prover.newest_trade_ms(state.market)
            answered_s = clock.monotonic()
            if newest_ms is not None and newest_ms > state.known_ms(CLOCK_ERROR_MS):
                await clock.sleep(IN_FLIGHT_S)
                found = True
            else:
                found = False
        finally:
            self._asking.discard(state)
        if state.lane is not lane or lane is None or state.heard_events() != count:
            return
        if found:
            self._blind_until.pop(state, None)
            self._on_mute(state)
        elif newest_ms is None:
            self._blind_until[state] = answered_s + BLIND_S
            self._judge_by_rate(state, answered_s)
        else:
            self._blind_until.pop(state, None)
            state.watch.asked(answered_s)
            state.quiet(asked_ms - int(REST_BEHIND_S * 1000))

    def _judge_by_rate(self, state: StreamState, now_s: float) -> None:
        watch = state.watch
        if watch.rate.established:
            mute = watch.is_mute_by_rate(now_s)
        else:
            base = state.stream.instrument.base
            mute = (
                not watch.heard
                and watch.suspicion(now_s) >= 1.0
                and self._busy is not None
                and self._busy(base)
            )
        if mute:
            self._blind_until.pop(state, None)
            self._on_mute(state)
