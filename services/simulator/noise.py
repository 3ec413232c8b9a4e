"""Reproducible noise: every value is a function of the seed, a label and an index alone.

Nothing is drawn from a running generator, so any second of the market can be computed again
without the seconds before it.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_A = 0xBF58476D1CE4E5B9
_B = 0x94D049BB133111EB
_HALF_RANGE = 12.0**0.5


def stream(seed: int, label: str) -> int:
    """The 64-bit key of a stream of noise."""
    return _mix(_mix(seed & _MASK) ^ zlib.crc32(label.encode()))


def words(key: int, index: Ints) -> Words:
    """Uniform 64-bit words, one per index (negative indices are allowed)."""
    z = index.astype(np.uint64) * np.uint64(_STEP) + np.uint64(key)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_A)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_B)
    return z ^ (z >> np.uint64(31))


def uniform(key: int, index: Ints) -> Floats:
    """Uniform values in [0, 1)."""
    return (words(key, index) >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def centred(key: int, index: Ints) -> Floats:
    """Values of zero mean and unit variance, uniformly distributed."""
    return np.asarray((uniform(key, index) - 0.5) * _HALF_RANGE)


def drifting(key: int, index: Ints, period: int) -> Floats:
    """`centred` noise that moves smoothly from one value to the next within `period` indices."""
    knot = index // period
    weight = (index - knot * period) / period
    return centred(key, knot) * (1.0 - weight) + centred(key, knot + 1) * weight


def _mix(value: int) -> int:
    z = (value + _STEP) & _MASK
    z = ((z ^ (z >> 30)) * _A) & _MASK
    z = ((z ^ (z >> 27)) * _B) & _MASK
    return z ^ (z >> 31)
