"""An order book around the last price; it is not traded against."""

from __future__ import annotations

import numpy as np

from services.simulator import noise
from services.simulator.instruments import Instrument, fixed

MAX_LEVELS = 100
_STEP_BP = 0.1
_LEVEL_USD = 150_000.0

Side = list[list[str]]


def depth(instrument: Instrument, price: float, second: int, levels: int) -> tuple[Side, Side]:
    """Bids and asks, best first, as [price, size] texts in native units."""
    levels = min(max(levels, 1), MAX_LEVELS)
    middle = round(price * 10**instrument.price_decimals)
    step = max(1, round(middle * _STEP_BP * 1e-4))
    key = noise.stream(second, instrument.market)
    luck = noise.uniform(key, np.arange(2 * levels, dtype=np.int64)).tolist()
    lot_usd = instrument.lot_usd(price)

    def side(sign: int, luck: list[float]) -> Side:
        return [
            [
                fixed(middle + sign * (1 + n * step), instrument.price_decimals),
                fixed(
                    max(1, int(_LEVEL_USD * instrument.share * (0.2 + u) / lot_usd)),
                    instrument.size_decimals,
                ),
            ]
            for n, u in enumerate(luck)
        ]

    return side(-1, luck[:levels]), side(1, luck[levels:])
