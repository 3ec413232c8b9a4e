"""Deterministic market scenarios with known outcomes, independent of any random library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.strategy.types import Second

Floats = NDArray[np.float64]

MIDNIGHT = 1_767_225_600
LEAD_S = 21_600
WICK = 8e-4


@dataclass(frozen=True)
class Segment:
    """Drifts per second, price `move_bp` over the segment, noise factors, OI drift over it."""

    seconds: int
    spot: float = 0.0
    perp: float = 0.0
    move_bp: float = 0.0
    price_noise: float = 0.5
    flow_noise: float = 1.0
    wick: bool = False
    oi: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """`mirrored`: prices and flows negated, so that a long setup becomes a short one."""

    segments: tuple[Segment, ...]
    mirrored: bool = False
    with_oi: bool = False


def _w(move: float, spot: float, perp: float, wick: bool) -> Segment:
    return Segment(120, spot, perp, move, price_noise=0.3, wick=wick)


BUILD_UP = Segment(2400, 1.0, -1.2)
SHAKE_OUT = (
    Segment(360, -3.0, 3.5, -24),
    _w(8, 0.4, 0.0, False),
    _w(-7, -1.0, 1.0, True),
    _w(6, 0.4, 0.0, False),
    _w(-5, -0.2, 0.2, True),
    Segment(180, 0.0, 0.0, 2, price_noise=0.3),
)
BURST = (Segment(240, -2.0, 2.5, -5), Segment(300, 3.0, 4.0, 50))

SCENARIOS = {
    "S1": Scenario(
        (
            BUILD_UP,
            *SHAKE_OUT,
            Segment(600, 1.5, 1.0, 30),
            Segment(1200, 0.8, 0.8, 20),
            Segment(1500, -3.0, 2.5),
        )
    ),
    "S2": Scenario((BUILD_UP, *BURST, Segment(900, 1.2, 1.2, 20), Segment(1200, -3.0, -4.0, -10))),
    "S3": Scenario(
        (
            replace(BUILD_UP, oi=0.01),
            *SHAKE_OUT,
            Segment(420, 1.5, 1.0, 20),
            Segment(300, -1.0, -1.0, -90, price_noise=1.0),
            Segment(300, price_noise=1.0),
        ),
        with_oi=True,
    ),
    "S4": Scenario(
        (
            BUILD_UP,
            *SHAKE_OUT,
            Segment(600, 1.5, 0.3, 30),
            Segment(600, 0.5, 0.0, 10),
            Segment(4200, -2.5, -0.3, flow_noise=0.3),
        ),
        mirrored=True,
    ),
    "S5": Scenario((BUILD_UP, *BURST, Segment(60), Segment(1500, -4.0, 2.5)), mirrored=True),
    "S6": Scenario(
        (
            Segment(3600, 1.2, 1.2, 40),
            Segment(5400),
            BUILD_UP,
            Segment(600, -1.5, -2.0, -110),
            Segment(1800),
        )
    ),
}


def noise(stream: int, seed: int, count: int) -> Floats:
    """`count` values of zero mean and unit variance, by splitmix64."""
    with np.errstate(over="ignore"):
        offset = np.uint64((16 * seed + stream) << 32)
        z = np.arange(1, count + 1, dtype=np.uint64) + offset
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    unit: Floats = (z >> np.uint64(11)).astype(np.float64) / 2.0**53
    return (unit - 0.5) * float(np.sqrt(12.0))


@dataclass(frozen=True)
class Market:
    """One value per second; prices as logs. `oi`: coins, None without open interest."""

    spot_delta: Floats
    perp_delta: Floats
    spot_volume: Floats
    perp_volume: Floats
    open: Floats
    high: Floats
    low: Floats
    x: Floats
    oi: Floats | None = None
    start: int = MIDNIGHT

    def __len__(self) -> int:
        return len(self.x)

    def seconds(self, first: int = 0, stop: int | None = None) -> Iterator[Second]:
        """The seconds with index `first` up to before `stop`."""
        part = slice(first, stop)
        columns = [
            column[part].tolist()
            for column in (
                self.spot_delta,
                self.perp_delta,
                self.spot_volume,
                self.perp_volume,
                np.exp(self.open),
                np.exp(self.high),
                np.exp(self.low),
                np.exp(self.x),
            )
        ]
        oi = None if self.oi is None else self.oi[part].tolist()
        for i, row in enumerate(zip(*columns, strict=True)):
            known = {} if oi is None else {"VENUE": oi[i]}
            yield Second(self.start + first + i, *row)._replace(oi=known)

    def mirror(self) -> Market:
        """Buyers become sellers and price x becomes constant minus x."""
        return replace(
            self,
            spot_delta=-self.spot_delta,
            perp_delta=-self.perp_delta,
            open=-self.open,
            high=-self.low,
            low=-self.high,
            x=-self.x,
        )

    def scaled(self, spot: float = 1.0, perp: float = 1.0, price: float = 1.0) -> Market:
        """Volumes of the legs and prices times constants."""
        shift = float(np.log(price))
        return replace(
            self,
            spot_delta=self.spot_delta * spot,
            spot_volume=self.spot_volume * spot,
            perp_delta=self.perp_delta * perp,
            perp_volume=self.perp_volume * perp,
            open=self.open + shift,
            high=self.high + shift,
            low=self.low + shift,
            x=self.x + shift,
        )


def generate(scenario: Scenario, seed: int = 1) -> Market:
    """The market of a scenario: `LEAD_S` seconds of noise, then its segments."""
    segments = (Segment(LEAD_S, price_noise=1.0), *scenario.segments)
    lengths = [segment.seconds for segment in segments]
    n = sum(lengths)

    def spread(values: list[float]) -> Floats:
        return np.repeat(np.array(values), lengths)

    flow = spread([segment.flow_noise for segment in segments])
    spot = spread([segment.spot for segment in segments]) + flow * 10.0 * noise(0, seed, n)
    perp = spread([segment.perp for segment in segments]) + flow * 15.0 * noise(1, seed, n)
    r = spread([segment.move_bp * 1e-4 / segment.seconds for segment in segments])
    r = r + spread([segment.price_noise for segment in segments]) * 5e-5 * noise(2, seed, n)
    if scenario.mirrored:
        spot, perp, r = -spot, -perp, -r
    x = np.log(100.0) + np.cumsum(r)
    previous = np.concatenate(([np.log(100.0)], x[:-1]))
    wick = 2e-5 * np.abs(noise(3, seed, n))
    up, down = wick, np.roll(wick, 7)
    if scenario.mirrored:
        up, down = down, up
    high, low = np.maximum(x, previous) + up, np.minimum(x, previous) - down
    spot_volume, perp_volume = 20.0 + np.abs(spot), 30.0 + np.abs(perp)
    end = 0
    for segment in segments:
        end += segment.seconds
        if not segment.wick:
            continue
        if scenario.mirrored:
            high[end - 45] = x[end - 45] + WICK
        else:
            low[end - 45] = x[end - 45] - WICK
        spot_volume[end - 60 : end] *= 3.0
        perp_volume[end - 60 : end] *= 3.0
    oi = None
    if scenario.with_oi:
        drift = np.cumsum(spread([segment.oi / segment.seconds for segment in segments]))
        steps = np.cumsum(2e-4 * noise(4, seed, -(-n // 60)))
        starts = np.log(1000.0) + drift[::60] + steps
        oi = np.repeat(np.exp(starts), 60)[:n]
    return Market(spot, perp, spot_volume, perp_volume, previous, high, low, x, oi)
