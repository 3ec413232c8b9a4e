"""Many seconds at once, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.strategy.series import Floats
from services.strategy.types import Second

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive seconds from `t` on: the fields of `Second`, one element a second.

    `oi`: second -> open interest as of it.
    """

    t: int
    spot_delta: Floats
    perp_delta: Floats
    spot_volume: Floats
    perp_volume: Floats
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    coverage: Floats
    degraded: Flags
    frozen: Flags
    oi: Callable[[int], Mapping[str, float]]

    def __len__(self) -> int:
        return len(self.close)

    def second(self, i: int) -> Second:
        """Element `i` as the second it stands for."""
        t = self.t + i
        return Second(
            t,
            float(self.spot_delta[i]),
            float(self.perp_delta[i]),
            float(self.spot_volume[i]),
            float(self.perp_volume[i]),
            float(self.open[i]),
            float(self.high[i]),
            float(self.low[i]),
            float(self.close[i]),
            coverage=float(self.coverage[i]),
            degraded=bool(self.degraded[i]),
            composition_frozen=bool(self.frozen[i]),
            oi=self.oi(t),
        )
