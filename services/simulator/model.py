"""The market, second by second: flow of spot and perpetual traders, price, open interest.

All times in this module are seconds relative to the anchor, the UTC second at which live trading
begins. The path is computed in blocks of one hour that start from the end of the block before, so
that it comes out the same, bit for bit, whenever and in whatever portions it is asked for.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields

import numpy as np

from services.simulator import noise
from services.simulator.noise import Floats, Ints
from services.simulator.scenario import Script, Segment

BLOCK_S = 3600
HISTORY_S = 25 * BLOCK_S
"""Seconds of path before the anchor."""

_PRICE_NOISE = 5e-5
_WICK_NOISE = 2e-5
_WICK_DEPTH = 8e-4
_WICK_BEFORE_END_S = 45
_WICK_VOLUME_S = 60
_WICK_BUSY = 3.0
_OI_NOISE_PER_MINUTE = 2e-4
_SPOT_NOISE, _PERP_NOISE = 10.0, 15.0
_BLOCKS_KEPT = 2
_SPOT_IDLE, _PERP_IDLE = 20.0, 30.0


@dataclass(frozen=True, slots=True)
class BaseAsset:
    """A base symbol: where its price starts and how much money one unit of flow is."""

    name: str
    start_price: float
    spot_unit_usd: float
    perp_unit_usd: float
    open_interest: float
    first_trigger_s: int
    first_direction: int


BASES = (
    BaseAsset("BTC", 96_000.0, 1_000.0, 2_500.0, 300_000.0, 35, 1),
    BaseAsset("ETH", 3_400.0, 500.0, 1_200.0, 2_400_000.0, 420, -1),
)


@dataclass(frozen=True, slots=True)
class Flow:
    """Seconds of one base symbol, one value per second.

    Deltas and volumes in USD. `open`, `close`, `high`, `low`: natural logarithm of the price.
    `oi`: change of ln(open interest) since the beginning of the path. `forced`: chance that a
    perpetual market fills a forced buy, negative: a forced sell.
    """

    second: Ints
    spot_delta: Floats
    perp_delta: Floats
    spot_volume: Floats
    perp_volume: Floats
    open: Floats
    close: Floats
    high: Floats
    low: Floats
    oi: Floats
    forced: Floats

    def cut(self, start: int, end: int) -> Flow:
        """The seconds [start, end) of this piece."""
        first = int(self.second[0])
        piece = slice(max(0, start - first), max(0, end - first))
        return Flow(*(getattr(self, field.name)[piece] for field in fields(Flow)))


class Path:
    """The second-by-second path of one base symbol."""

    def __init__(self, seed: int, base: BaseAsset) -> None:
        self.base = base
        self.script = Script(
            seed,
            base.name,
            begin=-HISTORY_S,
            first_trigger=base.first_trigger_s,
            first_direction=base.first_direction,
        )
        self._keys = {
            part: noise.stream(seed, f"{base.name}:{part}")
            for part in ("spot", "perp", "price", "wick", "oi")
        }
        self._first = -HISTORY_S // BLOCK_S
        # Price and open interest at the start of each block that was reached so far.
        self._carry: list[tuple[float, float]] = [(float(np.log(base.start_price)), 0.0)]
        self._recent: dict[int, Flow] = {}
        # The history is computed in a thread while requests are being answered.
        self._lock = threading.Lock()

    def seconds(self, start: int, end: int) -> Flow:
        """Seconds [start, end). Raises `ValueError` before the beginning of the history."""
        if start < -HISTORY_S or end <= start:
            raise ValueError(f"no path for seconds [{start}, {end})")
        blocks = range(start // BLOCK_S, (end - 1) // BLOCK_S + 1)
        with self._lock:
            pieces = [self._block(number).cut(start, end) for number in blocks]
        if len(pieces) == 1:
            return pieces[0]
        return Flow(
            *(np.concatenate([getattr(p, field.name) for p in pieces]) for field in fields(Flow))
        )

    def _block(self, number: int) -> Flow:
        if number in self._recent:
            return self._recent[number]
        while len(self._carry) <= number - self._first:
            self._compute(self._first + len(self._carry) - 1)
        if number in self._recent:
            return self._recent[number]
        return self._compute(number)

    def _compute(self, number: int) -> Flow:
        index = np.arange(number * BLOCK_S, (number + 1) * BLOCK_S, dtype=np.int64)
        draft = self._noise(index)
        for segment in self.script.between(number * BLOCK_S, (number + 1) * BLOCK_S):
            draft.stage(segment)
        start, start_oi = self._carry[number - self._first]
        close = start + np.cumsum(draft.step)
        oi = start_oi + np.cumsum(draft.oi)
        if len(self._carry) == number - self._first + 1:
            self._carry.append((float(close[-1]), float(oi[-1])))
        opened = np.concatenate(([start], close[:-1]))
        base = self.base
        flow = Flow(
            index,
            draft.spot * base.spot_unit_usd,
            draft.perp * base.perp_unit_usd,
            draft.busy * (_SPOT_IDLE + np.abs(draft.spot)) * base.spot_unit_usd,
            draft.busy * (_PERP_IDLE + np.abs(draft.perp)) * base.perp_unit_usd,
            opened,
            close,
            np.maximum(opened, close) + draft.above,
            np.minimum(opened, close) - draft.below,
            oi,
            draft.forced,
        )
        if len(self._recent) > _BLOCKS_KEPT:
            self._recent.pop(min(self._recent))
        self._recent[number] = flow
        return flow

    def _noise(self, index: Ints) -> _Draft:
        keys = self._keys
        minute = np.where(index % 60 == 0, _OI_NOISE_PER_MINUTE, 0.0)
        return _Draft(
            index,
            spot=_SPOT_NOISE * noise.centred(keys["spot"], index),
            perp=_PERP_NOISE * noise.centred(keys["perp"], index),
            step=_PRICE_NOISE * noise.centred(keys["price"], index),
            above=_WICK_NOISE * np.abs(noise.centred(keys["wick"], index)),
            below=_WICK_NOISE * np.abs(noise.centred(keys["wick"], index - 7)),
            oi=minute * noise.centred(keys["oi"], index),
            busy=np.ones(len(index)),
            forced=np.zeros(len(index)),
        )


@dataclass(slots=True)
class _Draft:
    """A block while it is being staged, in units of flow and changes of logarithms.

    `above`, `below`: how far the price reached beyond open and close. `busy`: multiplies volumes.
    """

    index: Ints
    spot: Floats
    perp: Floats
    step: Floats
    above: Floats
    below: Floats
    oi: Floats
    busy: Floats
    forced: Floats

    def stage(self, segment: Segment) -> None:
        """Put the script's drifts, moves and wicks on top of the noise."""
        index, shape, sign = self.index, segment.step, segment.direction
        where = (index >= segment.start) & (index < segment.end)
        self.spot[where] = self.spot[where] * shape.flow_noise + sign * shape.spot
        self.perp[where] = self.perp[where] * shape.flow_noise + sign * shape.perp
        self.step[where] *= shape.price_noise
        self.step[where] += sign * shape.move_bp * 1e-4 / shape.seconds
        self.oi[where] += shape.oi / shape.seconds
        self.forced[where] = sign * shape.forced
        if shape.wick:
            self.busy[where & (index >= segment.end - _WICK_VOLUME_S)] = _WICK_BUSY
            beyond = self.below if sign > 0 else self.above
            beyond[index == segment.end - _WICK_BEFORE_END_S] = _WICK_DEPTH


class Model:
    """All paths of a market, by base symbol."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.paths = {base.name: Path(seed, base) for base in BASES}

    def open_interest(self, base: str, second: int) -> float:
        """Coins open at a relative second, all venues together."""
        path = self.paths[base]
        flow = path.seconds(second, second + 1)
        return path.base.open_interest * float(np.exp(flow.oi[0]))
