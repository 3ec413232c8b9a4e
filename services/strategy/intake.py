"""Takes many seconds into the history at once, bit for bit as one after another."""

from __future__ import annotations

from math import log

import numpy as np

from services.strategy.block import Block
from services.strategy.history import History, OpenMinute
from services.strategy.series import Floats


def _logs(values: Floats) -> Floats:
    # numpy's own logarithm differs from that of `math` in the last bit, here and there.
    return np.array(list(map(log, values.tolist())))


def sound(block: Block) -> int:
    """Number of leading seconds that `History.add` would not refuse."""
    flows = block.spot_delta + block.perp_delta + (block.spot_volume + block.perp_volume)
    fine = (
        np.isfinite(flows + block.high)
        & (block.low > 0.0)
        & (block.open > 0.0)
        & (block.low <= block.close)
        & (block.close <= block.high)
    )
    return len(block) if fine.all() else int(fine.argmin())


class Intake:
    """The first `count` seconds of a block, staged behind the newest second of the history.

    The block must follow the history, which holds a second, directly and inside a minute whose
    beginning it has seen, or at a minute's beginning. `first`: index of its first second in the
    window. `done`: number of seconds the history has taken.
    """

    def __init__(self, history: History, block: Block, count: int) -> None:
        self._history, self._block = history, block
        self.done = 0
        window, part = history.seconds, slice(0, count)
        x = _logs(block.close[part])
        before = window.x[window.last]
        self.first = window.stage(
            block.spot_delta[part],
            block.perp_delta[part],
            x,
            _logs(block.high[part]),
            _logs(block.low[part]),
            block.degraded[part].astype(np.float64),
        )
        moved = x != np.concatenate(([before], x[:-1]))
        self._moved = np.maximum.accumulate(np.where(moved, np.arange(count), -1))
        minute = history.open_minute or OpenMinute(0.0)
        self._spot_volume = self._sums(block.spot_volume[part], minute.spot_volume)
        self._perp_volume = self._sums(block.perp_volume[part], minute.perp_volume)

    def _sums(self, volume: Floats, before: float) -> Floats:
        """Sum since the beginning of the minute at each second; `before`: that of earlier ones."""
        into_minute, n = self._block.t % 60, len(volume)
        rows = np.zeros(-(-(into_minute + n) // 60) * 60)
        rows[into_minute : into_minute + n] = volume
        if into_minute:
            rows[into_minute - 1] = before
        sums: Floats = np.cumsum(rows.reshape(-1, 60), axis=1).ravel()
        return sums[into_minute : into_minute + n]

    def advance(self, stop: int) -> None:
        """Let the history take the seconds up to before `stop`, at least one more than it has; at
        most the last ends a minute.
        """
        history, block = self._history, self._block
        last = stop - 1
        history.seconds.take(stop - self.done)
        history.t = block.t + last
        history.close = float(block.close[last])
        if self._moved[last] >= 0:
            history.price_moved_t = block.t + int(self._moved[last])
        begins = self.done + -(block.t + self.done) % 60
        if begins < stop:
            history.open_minute = OpenMinute(log(block.open[begins]))
        minute = history.open_minute
        assert minute is not None
        minute.spot_volume = float(self._spot_volume[last])
        minute.perp_volume = float(self._perp_volume[last])
        self.done = stop
        if history.t % 60 == 59:
            history.close_minute(block.oi(history.t), decide=True)
