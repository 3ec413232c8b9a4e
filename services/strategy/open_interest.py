"""Open interest: does new leverage stand behind a divergence?"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from math import log, sqrt
from typing import NamedTuple

from services.strategy.params import Params
from services.strategy.scales import ChangeScale

WINDOWS = (1, 5, 15, 30)


class OpenInterestState(StrEnum):
    """What open interest says about the setup; new leverage confirms both directions alike."""

    STRONG = "STRONG"
    WEAK = "WEAK"
    NEUTRAL = "NEUTRAL"
    CONTRADICT = "CONTRADICT"
    UNAVAILABLE = "UNAVAILABLE"


class Confirmation(NamedTuple):
    """`z`: change over the setup in robust standard deviations, None if unavailable."""

    state: OpenInterestState
    z: float | None
    points: float


UNAVAILABLE = Confirmation(OpenInterestState.UNAVAILABLE, None, 0.0)


def log_change(old: Mapping[str, float], new: Mapping[str, float]) -> float | None:
    """Change of ln(open interest) over the exchanges present at both ends; None without any."""
    if not old or not new:
        return None
    common = [exchange for exchange in old if exchange in new]
    before = sum(old[exchange] for exchange in common)
    after = sum(new[exchange] for exchange in common)
    if before <= 0.0 or after <= 0.0:
        return None
    return log(after) - log(before)


def judge(z: float, params: Params) -> Confirmation:
    """State and points of a change of `z` standard deviations."""
    strong, weak, contradict = params.oi_points
    if z >= params.oi_strong:
        return Confirmation(OpenInterestState.STRONG, z, strong)
    if z >= params.oi_weak:
        return Confirmation(OpenInterestState.WEAK, z, weak)
    if z <= params.oi_contra:
        return Confirmation(OpenInterestState.CONTRADICT, z, contradict)
    return Confirmation(OpenInterestState.NEUTRAL, z, 0.0)


class OpenInterestHistory:
    """Open interest per exchange in base coins, at minute closes."""

    def __init__(self, params: Params) -> None:
        self._p = params
        self._lag = params.scale_lag_min
        self._closes: deque[Mapping[str, float]] = deque(
            maxlen=params.hist_min + max(params.scale_windows) + 1
        )
        self._scale = ChangeScale(params, WINDOWS)
        self._known = 0

    def add(self, oi: Mapping[str, float]) -> None:
        """Append the values of the minute that has just closed."""
        if len(self._closes) == self._closes.maxlen and self._closes[0]:
            self._known -= 1
        self._closes.append(oi)
        if oi:
            self._known += 1
        end = len(self._closes) - self._lag
        newest = -1 - self._lag
        for w in WINDOWS:
            if end > w:
                change = log_change(self._closes[newest - w], self._closes[newest])
                self._scale.add_change(w, change, end)

    @property
    def known(self) -> int:
        """Minutes of which it is known."""
        return self._known

    def refresh(self) -> None:
        if self._known:
            self._scale.refresh(len(self._closes), adaptive=False)

    def confirm(self, anchor_age: int, peak_age: int) -> Confirmation:
        """Judge the change between two minute closes, given as minutes before the newest close."""
        minutes = anchor_age - peak_age
        sigma = self._scale.scale[30]
        usable = len(self._closes) > anchor_age and minutes >= 1 and self._closes[-1]
        if not usable or self._known < self._p.oi_history_min or sigma == 0.0:
            return UNAVAILABLE
        change = log_change(self._closes[-1 - anchor_age], self._closes[-1 - peak_age])
        if change is None:
            return UNAVAILABLE
        return judge(change / (sigma * sqrt(minutes / 30)), self._p)
