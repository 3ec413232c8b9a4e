"""The market, second by second: flow of spot and perpetual traders, price, open interest.

All times in this module are seconds relative to the anchor, the UTC second at which live trading
begins. The path is computed in blocks of one hour that start from the end of the block before, so
that it comes out the same, bit for bit, whenever and in whatever portions it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from services.simulator import noise
from services.simulator.noise import Floats, Ints
from services.simulator.scenario import Script

BLOCK_S = 3600
HISTORY_S = 25 * BLOCK_S
"""Seconds of path before the anchor."""

_PRICE_NOISE = 5e-5
_WICK_NOISE = 2e-5
_WICK_DEPTH = 8e-4
_WICK_BEFORE_END_S = 45
_WICK_VOLUME_S = 60
_OI_NOISE_PER_MINUTE = 2e-4
_SPOT_NOISE, _PERP_NOISE = 10.0, 15.0
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
    BaseAsset("BTC", 96_000.0, 1_000.0, 2_500.0, 300_000.0, 50, 1),
    BaseAsset("ETH", 3_400.0, 500.0, 1_200.0, 2_400_000.0, 420, -1),
)


@dataclass(frozen=True, slots=True)
class Flow:
    """Seconds of one base symbol, one value per second.

    Deltas and volumes in USD. `open`, `close`, `high`, `low`: natural logarithm of the price.
    `oi`: change of ln(open interest) since the beginning of the path.
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

    def seconds(self, start: int, end: int) -> Flow:
        """Seconds [start, end). Raises `ValueError` before the beginning of the history."""
        if start < -HISTORY_S or end <= start:
            raise ValueError(f"no path for seconds [{start}, {end})")
        blocks = range(start // BLOCK_S, (end - 1) // BLOCK_S + 1)
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
        return self._compute(number)

    def _compute(self, number: int) -> Flow:
        index = np.arange(number * BLOCK_S, (number + 1) * BLOCK_S, dtype=np.int64)
        spot = _SPOT_NOISE * noise.centred(self._keys["spot"], index)
        perp = _PERP_NOISE * noise.centred(self._keys["perp"], index)
        step = _PRICE_NOISE * noise.centred(self._keys["price"], index)
        wick = np.abs(noise.centred(self._keys["wick"], index)) * _WICK_NOISE
        wick_low = np.abs(noise.centred(self._keys["wick"], index - 7)) * _WICK_NOISE
        oi = np.where(
            index % 60 == 0, _OI_NOISE_PER_MINUTE * noise.centred(self._keys["oi"], index), 0.0
        )
        busy = np.ones(BLOCK_S)
        pierced = np.zeros(BLOCK_S)
        for segment in self.script.between(number * BLOCK_S, (number + 1) * BLOCK_S):
            where = (index >= segment.start) & (index < segment.end)
            shape, sign = segment.step, segment.direction
            spot[where] = spot[where] * shape.flow_noise + sign * shape.spot
            perp[where] = perp[where] * shape.flow_noise + sign * shape.perp
            step[where] *= shape.price_noise
            step[where] += sign * shape.move_bp * 1e-4 / shape.seconds
            oi[where] += shape.oi / shape.seconds
            if shape.wick:
                busy[(index >= segment.end - _WICK_VOLUME_S) & where] = 3.0
                pierced[index == segment.end - _WICK_BEFORE_END_S] = sign
        start, start_oi = self._carry[number - self._first]
        close = start + np.cumsum(step)
        total_oi = start_oi + np.cumsum(oi)
        if len(self._carry) == number - self._first + 1:
            self._carry.append((float(close[-1]), float(total_oi[-1])))
        opened = np.concatenate(([start], close[:-1]))
        low = np.minimum(opened, close) - np.where(pierced > 0, _WICK_DEPTH, wick_low)
        high = np.maximum(opened, close) + np.where(pierced < 0, _WICK_DEPTH, wick)
        flow = Flow(
            index,
            spot * self.base.spot_unit_usd,
            perp * self.base.perp_unit_usd,
            busy * (_SPOT_IDLE + np.abs(spot)) * self.base.spot_unit_usd,
            busy * (_PERP_IDLE + np.abs(perp)) * self.base.perp_unit_usd,
            opened,
            close,
            high,
            low,
            total_oi,
        )
        if len(self._recent) > 2:
            self._recent.pop(min(self._recent))
        self._recent[number] = flow
        return flow


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
