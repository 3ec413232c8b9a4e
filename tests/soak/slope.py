"""How fast a measured quantity grows, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 120
"""Points a slope is made of, at most: pairs grow with their square."""

BIN_S = 60.0
FLOOR_BIN_S = 300.0
RESAMPLES = 200
CONFIDENCE = 0.95
BLOCKS = 8
LEAST_POINTS = 6

Answer = Literal["flat", "grows", "open"]


@dataclass(frozen=True, slots=True)
class Life:
    """What one process took, from its first sample to its last; `at_s` ascending."""

    at_s: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Slope:
    """Units per hour with the ends of the interval; `hours`: measured in all."""

    per_hour: float
    low: float
    high: float
    hours: float

    @property
    def resolves(self) -> float:
        """The smallest growth that would be told from none."""
        return (self.high - self.low) / 2

    def against(self, bound: float) -> Answer:
        """Whether it stays below `bound`; open: this measurement cannot tell."""
        if self.low > bound:
            return "grows"
        return "flat" if self.high < bound else "open"


def slope_of(
    lives: Sequence[Life], warm_up_s: float, *, floor: bool = False, seed: int = 1
) -> Slope | None:
    """The median of all slopes between two points of the same life (Theil 1950, Sen 1968).

    The first `warm_up_s` of each life do not count. What a minute holds becomes its median. The
    interval is that of a block bootstrap of the residuals (Kunsch 1989), since neighbouring
    samples of memory are anything but independent. None if there are too few points.

    `floor`: for what is counted, and comes and goes: what five minutes hold becomes its least. One
    more or less in a life is no growth: the interval is wider by that.
    """
    settled = [_settled(life, warm_up_s) for life in lives]
    span_s = float(sum(at[-1] - at[0] for at, _ in settled if len(at)))
    width_s = max(FLOOR_BIN_S if floor else BIN_S, span_s / BINS)
    reduce = np.min if floor else np.median
    pieces = [_binned(at, values, width_s, reduce) for at, values in settled]
    pieces = [piece for piece in pieces if len(piece[0]) > 1]
    if sum(len(at) for at, _ in pieces) < LEAST_POINTS:
        return None
    slope = _theil_sen(pieces)
    fitted = [slope * at + np.median(values - slope * at) for at, values in pieces]
    residuals = [values - fit for (_, values), fit in zip(pieces, fitted, strict=True)]
    luck = np.random.default_rng(seed)
    found = [
        _theil_sen(
            [
                (at, fit + _shuffled(left, luck))
                for (at, _), fit, left in zip(pieces, fitted, residuals, strict=True)
            ]
        )
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    one = 1 / max(float(at[-1]) for at, _ in pieces) if floor else 0.0
    return Slope(slope, float(low) - one, float(high) + one, span_s / 3600)


def _settled(life: Life, warm_up_s: float) -> tuple[Floats, Floats]:
    at, values = np.array(life.at_s, dtype=np.float64), np.array(life.values, dtype=np.float64)
    late = at >= at[0] + warm_up_s if len(at) else np.zeros(0, dtype=np.bool_)
    return at[late], values[late]


def _binned(
    at: Floats, values: Floats, width_s: float, reduce: Callable[[Floats], float]
) -> tuple[Floats, Floats]:
    """Hours, and what each bin is reduced to."""
    if not len(at):
        return at, values
    label = ((at - at[0]) // width_s).astype(np.int64)
    reduced = [float(reduce(values[label == number])) for number in np.unique(label)]
    return np.unique(label) * width_s / 3600, np.array(reduced)


def _theil_sen(pieces: Sequence[tuple[Floats, Floats]]) -> float:
    slopes = []
    for at, values in pieces:
        first, second = np.triu_indices(len(at), 1)
        slopes.append((values[second] - values[first]) / (at[second] - at[first]))
    return float(np.median(np.concatenate(slopes)))


def _shuffled(values: Floats, luck: np.random.Generator) -> Floats:
    """As many, drawn in blocks of an eighth of the whole, which may run over its end."""
    length = max(1, len(values) // BLOCKS)
    starts = luck.integers(0, len(values), size=-(-len(values) // length))
    index = (starts[:, None] + np.arange(length)) % len(values)
    return np.asarray(values[index.ravel()[: len(values)]])
