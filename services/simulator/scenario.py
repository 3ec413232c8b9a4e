"""The script of the market: which phase a base symbol is in, for ever, from the seed alone.

Times are seconds relative to the moment at which live trading begins. Drifts are in flow units
per second (the noise of spot flow has a standard deviation of 10 units per second, that of
perpetuals 15), price moves in basis points over the whole segment.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from services.simulator import noise


class Step(NamedTuple):
    """A segment before it has a place in time, drawn for a long squeeze.

    `price_noise` and `flow_noise` multiply the noise. `oi`: change of ln(open interest) over the
    segment. `wick`: 45 s before the end the price pierces the low, on tripled volume.
    `forced`: chance per second and perpetual market that a forced buy (negative: sell) is filled.
    """

    name: str
    seconds: int
    spot: float
    perp: float
    move_bp: float
    price_noise: float = 0.5
    flow_noise: float = 1.0
    oi: float = 0.0
    wick: bool = False
    forced: float = 0.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A step at its place; `direction` is +1, -1, or 0 where nothing is staged."""

    start: int
    step: Step
    direction: int
    plot: str

    @property
    def end(self) -> int:
        """First second after the segment."""
        return self.start + self.step.seconds


TRIGGER = "trigger"

_BUILD_UP = Step("build_up", 1100, 2.0, -2.6, 0.0, oi=0.012)
_SHAKE_OUT = (
    Step("reset", 360, -3.0, 3.5, -24.0),
    Step("bounce", 120, -0.4, 0.0, 8.0, 0.3, 0.4),
    Step("test", 120, -1.0, 1.0, -7.0, 0.3, 0.4, wick=True),
    Step("bounce", 120, -0.4, 0.0, 6.0, 0.3, 0.4),
    Step("test", 120, -0.6, 0.4, -6.0, 0.3, 0.4, wick=True),
)
_RUN = (
    Step(TRIGGER, 40, 5.0, 2.0, 9.0, 0.3, forced=0.1),
    Step("run", 100, 4.0, 3.0, 48.0, 0.5, oi=-0.004, forced=0.2),
)
_EXIT_FLOW = Step("exit_flow", 110, -15.0, 7.0, -5.0, 0.3, oi=-0.004)
_UNWIND = Step("unwind", 900, 0.5, -0.5, -30.0, 0.7, oi=-0.004)

PLOTS: dict[str, tuple[Step, ...]] = {
    "squeeze": (_BUILD_UP, *_SHAKE_OUT, *_RUN, _EXIT_FLOW, _UNWIND),
    "explosion": (
        _BUILD_UP,
        Step("reset", 240, -2.0, 2.5, -5.0),
        Step(TRIGGER, 300, 3.0, 4.0, 60.0, oi=-0.004, forced=0.15),
        Step("run", 600, 1.0, 1.2, 20.0, oi=-0.004),
        Step("exit_flow", 600, -5.0, -6.0, -20.0),
        Step("unwind", 900, 0.5, 0.8, -30.0, 0.7, oi=-0.004),
    ),
    "failure": (
        _BUILD_UP,
        Step("reset", 360, -3.0, 3.5, -24.0),
        Step("collapse", 600, -1.5, -2.0, -90.0, oi=-0.008, forced=-0.15),
        Step("unwind", 1200, 0.8, 0.6, 40.0, 0.8, oi=-0.004),
    ),
}
_EAGER_PLOTS = 4
_DRAWN = ("squeeze", "explosion", "squeeze", "failure")


class Script:
    """The endless sequence of segments of one base symbol.

    Until `first_trigger` everything leads up to a `squeeze` in `first_direction` whose trigger
    phase begins at that second; what comes after is drawn from `seed`.
    """

    def __init__(
        self, seed: int, base: str, *, begin: int, first_trigger: int, first_direction: int
    ) -> None:
        self._key = noise.stream(seed, f"{base}:script")
        self._segments = list(self._opening(begin, first_trigger, first_direction))
        self._starts = [segment.start for segment in self._segments]
        self._plots = 0

    def at(self, second: int) -> Segment:
        """The segment that holds `second`."""
        self._extend(second)
        return self._segments[bisect_right(self._starts, second) - 1]

    def between(self, start: int, end: int) -> list[Segment]:
        """Every segment that overlaps [start, end)."""
        self._extend(end)
        first = max(0, bisect_right(self._starts, start) - 1)
        last = bisect_right(self._starts, end - 1)
        return self._segments[first:last]

    def next_trigger(self, second: int) -> Segment:
        """The next segment, not before `second`, in which an entry is to be expected."""
        index = bisect_right(self._starts, second) - 1
        while True:
            index += 1
            while index >= len(self._segments):
                self._append_plot()
            if self._segments[index].step.name == TRIGGER:
                return self._segments[index]

    def _opening(self, begin: int, trigger: int, direction: int) -> Iterator[Segment]:
        steps = PLOTS["squeeze"]
        lead = 0
        for step in steps:
            if step.name == TRIGGER:
                break
            lead += step.seconds
        start = trigger - lead
        yield Segment(begin, Step("quiet", start - begin, 0.0, 0.0, 0.0, 1.0), 0, "quiet")
        for step in steps:
            yield Segment(start, step, direction, "squeeze")
            start += step.seconds

    def _extend(self, second: int) -> None:
        while self._segments[-1].end <= second:
            self._append_plot()

    def _append_plot(self) -> None:
        draw = noise.uniform(self._key, np.arange(4, dtype=np.int64) + 4 * self._plots)
        self._plots += 1
        plot = _DRAWN[int(draw[0] * len(_DRAWN))]
        direction = 1 if draw[1] < 0.5 else -1
        self._append(Step("quiet", self._pause(draw[2]), 0.0, 0.0, 0.0, 1.0), 0, "quiet")
        for step in PLOTS[plot]:
            self._append(step, direction, plot)

    def _pause(self, luck: float) -> int:
        """Seconds of quiet between two plots, longer once the day behind is full of them.

        What counts as large is measured against the last 24 hours, so a market that is always
        extreme has no extremes.
        """
        if self._plots <= _EAGER_PLOTS:
            return 600 + int(luck * 900)
        return 5400 + int(luck * 5400)

    def _append(self, step: Step, direction: int, plot: str) -> None:
        self._starts.append(self._segments[-1].end)
        self._segments.append(Segment(self._starts[-1], step, direction, plot))
