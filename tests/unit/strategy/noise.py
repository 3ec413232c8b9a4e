"""Markets in which there is nothing to be found, deterministic and independent of any library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np

from services.strategy.block import Block
from services.strategy.engine import SymbolEngine
from services.strategy.run import step
from services.strategy.types import Entry, Event
from tests.unit.strategy.scenarios import Floats, Market, noise

DAY_S = 86_400
MEMORY = 0.3
"""Order d of fractional integration of the flow: its autocorrelation falls as lag^(2d - 1)."""

SHARED = 0.71
"""Weight of what both legs have in common, so that their deltas correlate by about 0.45."""

IMPACT = 0.5
"""Correlation of a second's return with the flow that was not to be foreseen."""

FIRST_PIECE_S = 240
LAST_PIECE_S = 3840


def gaussian(stream: int, seed: int, count: int) -> Floats:
    """Independent normal values of unit variance, by Box and Muller (1958)."""
    uniform = [noise(k, seed, count) / np.sqrt(12.0) + 0.5 for k in (2 * stream, 2 * stream + 1)]
    radius = np.sqrt(-2.0 * np.log(np.maximum(uniform[0], 2.0**-53)))
    values: Floats = radius * np.cos(2.0 * np.pi * uniform[1])
    return values


def persistent(white: Floats, order: float = MEMORY) -> Floats:
    """Fractionally integrated noise of unit variance, made of white noise.

    Granger and Joyeux (1980): the response to a shock falls as lag^(order - 1), here up to the
    length of the series, over which it is periodic.
    """
    n = len(white)
    lags = np.arange(1.0, n)
    response = np.concatenate(([1.0], np.cumprod((lags - 1.0 + order) / lags)))
    found: Floats = np.fft.irfft(np.fft.rfft(white) * np.fft.rfft(response), n)
    found /= np.sqrt(np.sum(response**2))
    return found


def calm(days: int, seed: int) -> Market:
    """Normal flow of both legs and normal returns, all independent."""
    n = days * DAY_S
    spot, perp = 10.0 * gaussian(0, seed, n), 15.0 * gaussian(1, seed, n)
    x = np.cumsum(5e-5 * gaussian(2, seed, n))
    return _market(spot, perp, 20.0 + np.abs(spot), 30.0 + np.abs(perp), x, seed)


def wild(days: int, seed: int) -> Market:
    """Heavy tails, long memory of flow, random volume, correlated legs, price impact.

    Traded volume is lognormal, around a level that wanders slowly and is shared by both legs. The
    share of it that buyers take more than sellers has long memory, as orders that are split have
    (Lillo and Farmer, 2004). Price moves with what was not to be foreseen of it, so that returns
    are uncorrelated though flow is not (Bouchaud et al., 2004), and the more the busier the market.
    """
    n = days * DAY_S
    level = 0.9 * persistent(gaussian(0, seed, n), 0.45)
    own = np.sqrt(1.0 - SHARED**2)
    common = gaussian(1, seed, n)
    surprises = [SHARED * common + own * gaussian(k, seed, n) for k in (2, 3)]
    legs = []
    busy = level + 0.7 * gaussian(8, seed, n)
    for size, stream, surprise in ((10.0, 4, surprises[0]), (15.0, 5, surprises[1])):
        volume = size * np.exp(busy + 0.4 * gaussian(stream, seed, n))
        legs.append((volume * np.tanh(persistent(surprise)), volume))
    surprise = (surprises[0] + surprises[1]) / np.sqrt(2.0 + 2.0 * SHARED**2)
    moved = IMPACT * surprise + np.sqrt(1.0 - IMPACT**2) * gaussian(6, seed, n)
    x = np.cumsum(5e-5 * np.exp(level) * moved)
    (spot, spot_volume), (perp, perp_volume) = legs
    return _market(spot, perp, spot_volume, perp_volume, x, seed)


def _market(
    spot: Floats, perp: Floats, spot_volume: Floats, perp_volume: Floats, x: Floats, seed: int
) -> Market:
    before = np.concatenate(([0.0], x[:-1]))
    wick = 2e-5 * np.abs(gaussian(7, seed, len(x)))
    high, low = np.maximum(x, before) + wick, np.minimum(x, before) - np.roll(wick, 7)
    return Market(spot, perp, spot_volume, perp_volume, before, high, low, x)


def decide(engine: SymbolEngine, market: Market) -> Iterator[Event]:
    """As `services.strategy.run`, with seconds that lead to no event processed in bulk."""
    whole = _whole(market)
    t, end, piece_s, trades = market.start, market.start + len(market), FIRST_PIECE_S, 0
    while t < end:
        most = engine.skips(t)
        count = min(piece_s, end - t) if most is None else min(piece_s, end - t, most)
        taken = engine.skip(_part(whole, t, count)) if count else 0
        t += taken
        piece_s = min(LAST_PIECE_S, 2 * piece_s) if taken == count else FIRST_PIECE_S
        if count and taken == count:
            continue
        for event in step(engine, whole.second(t - whole.t), trades + 1):
            trades += isinstance(event, Entry)
            yield event
        t += 1


def _whole(market: Market) -> Block:
    never = np.zeros(len(market), dtype=np.bool_)
    return Block(
        market.start,
        market.spot_delta,
        market.perp_delta,
        market.spot_volume,
        market.perp_volume,
        np.exp(market.open),
        np.exp(market.high),
        np.exp(market.low),
        np.exp(market.x),
        np.ones(len(market)),
        never,
        never,
        lambda t: {},
    )


def _part(whole: Block, t: int, count: int) -> Block:
    part = slice(t - whole.t, t - whole.t + count)
    columns: dict[str, Any] = {f.name: getattr(whole, f.name)[part] for f in fields(Block)[1:-1]}
    return replace(whole, t=t, **columns)
