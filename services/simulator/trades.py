"""Seconds of flow become single trades, on the venue's price and size steps.

Everything is a function of (seed, market, second) alone, and sums that must not depend on how
many seconds are computed together are kept in integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.simulator import noise
from services.simulator.instruments import Instrument
from services.simulator.model import BaseAsset, Flow
from services.simulator.noise import Floats, Ints, Words

_MAX_PER_SECOND = 256
"""Most trades of one market in one second; also the stride of the noise index."""

_WOBBLE_BP = 0.3
_WOBBLE_PERIOD_S = 120
_SKEW = 0.15
_FORCED_ANYWAY = 0.002


@dataclass(frozen=True, slots=True)
class MarketFlow:
    """One market's part of the flow, per second; USD and quote prices."""

    second: Ints
    buy_usd: Floats
    sell_usd: Floats
    open: Floats
    close: Floats
    high: Floats
    low: Floats


@dataclass(frozen=True, slots=True)
class Batch:
    """Trades of one market in time order, one value per trade.

    `second`: relative to the anchor; `ms`: 0 to 999 within it. `forced`: a liquidation order was
    filled by this trade.
    """

    second: Ints
    ms: Ints
    buy: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ticks: Ints
    lots: Ints
    forced: np.ndarray[tuple[int], np.dtype[np.bool_]]


class Splitter:
    """Splits the flow of a base symbol over its markets and into trades.

    `load` multiplies the number of trades; prices and volumes stay as they are.
    """

    def __init__(
        self,
        seed: int,
        base: BaseAsset,
        instruments: tuple[Instrument, ...],
        load: float = 1.0,
    ) -> None:
        self.base = base
        self._load = load
        self.instruments = tuple(i for i in instruments if i.base == base.name)
        self._keys = {
            i.market: {
                part: noise.stream(seed, f"{i.market}:{part}")
                for part in ("share", "skew", "basis", "count", "slot")
            }
            for i in self.instruments
        }

    def market_flow(self, flow: Flow, instrument: Instrument) -> MarketFlow:
        """What of `flow` goes through one market.

        The shares of a class add up to one and the skews to zero, so that the markets of a class
        together trade the whole flow; markets that are `apart` trade their share besides.
        """
        second = flow.second
        if instrument.apart:
            peers = [instrument]
        else:
            peers = [i for i in self.instruments if i.kind == instrument.kind and not i.apart]
        weights = {
            i.market: i.share * (0.6 + 0.8 * noise.uniform(self._keys[i.market]["share"], second))
            for i in peers
        }
        skews = {
            i.market: (noise.uniform(self._keys[i.market]["skew"], second) - 0.5)
            * weights[i.market]
            for i in peers
        }
        share, skew = weights[instrument.market], skews[instrument.market]
        if not instrument.apart:
            total, total_skew = sum(weights.values()), sum(skews.values())
            share = share / total
            skew = (skew - share * total_skew) / total
        spot = instrument.kind == "spot"
        delta = flow.spot_delta if spot else flow.perp_delta
        volume = flow.spot_volume if spot else flow.perp_volume
        part = volume * share
        net = np.clip(delta * share + _SKEW * volume * skew, -part, part)
        factor = np.full(len(second), 1.0 + instrument.basis_bp * 1e-4)
        if instrument.basis_bp:
            factor += (
                _WOBBLE_BP
                * 1e-4
                * noise.drifting(self._keys[instrument.market]["basis"], second, _WOBBLE_PERIOD_S)
            )
        return MarketFlow(
            second,
            (part + net) / 2,
            (part - net) / 2,
            np.exp(flow.open) * factor,
            np.exp(flow.close) * factor,
            np.exp(flow.high) * factor,
            np.exp(flow.low) * factor,
        )

    def trades(self, flow: Flow, instrument: Instrument) -> Batch:
        """Every trade of one market in the seconds of `flow`."""
        market = self.market_flow(flow, instrument)
        keys = self._keys[instrument.market]
        count = self._counts(market, instrument, keys["count"])
        rows = np.repeat(np.arange(len(count)), count)
        first = np.cumsum(count) - count
        slot = np.arange(len(rows)) - first[rows]
        index = market.second[rows] * _MAX_PER_SECOND + slot
        word = noise.words(keys["slot"], index)
        luck = _chance(word, 0)
        ms = ((slot + _chance(word, 16)) / count[rows] * 1000.0).astype(np.int64)
        buy = _sides(market, rows, slot, word)
        price = _prices(market, rows, slot, count[rows], luck)
        ticks = np.maximum(1, np.rint(price * 10.0**instrument.price_decimals)).astype(np.int64)
        lot_usd = _lot_usd(market, instrument)
        weight = np.asarray(word >> np.uint64(48), dtype=np.int64) + 64
        lots = np.zeros(len(rows), dtype=np.int64)
        for side, usd in ((buy, market.buy_usd), (~buy, market.sell_usd)):
            wanted = np.rint(usd / lot_usd).astype(np.int64)
            lots[side] = _distribute(wanted, rows[side], weight[side], len(count))
        kept = lots > 0
        chance = flow.forced[rows]
        forced = (
            (luck * count[rows] < np.abs(chance) * 2 + _FORCED_ANYWAY)
            & ((buy == (chance > 0)) | (chance == 0))
            & (instrument.kind == "perp" and instrument.tells_liquidations)
        )
        return Batch(
            market.second[rows][kept],
            np.minimum(ms, 999)[kept],
            buy[kept],
            ticks[kept],
            lots[kept],
            forced[kept],
        )

    def _counts(self, market: MarketFlow, instrument: Instrument, key: int) -> Ints:
        draw = noise.uniform(key, market.second * 2)
        spot = instrument.kind == "spot"
        typical = 28.7 * self.base.spot_unit_usd if spot else 43.0 * self.base.perp_unit_usd
        busy = np.sqrt((market.buy_usd + market.sell_usd) / (typical * instrument.share))
        rate = instrument.rate * self._load
        count = 2 + np.maximum(0.0, rate - 2.0) * busy * (0.5 + draw)
        quiet = noise.uniform(key, market.second * 2 + 1) < instrument.quiet
        return np.where(quiet, 0, np.minimum(count, _MAX_PER_SECOND)).astype(np.int64)


def _lot_usd(market: MarketFlow, instrument: Instrument) -> Floats:
    worth = float(instrument.inverse_usd) if instrument.inverse_usd else market.close
    return np.asarray(worth * 10.0**-instrument.lot_decimals)


def _chance(word: Words, shift: int) -> Floats:
    return ((word >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.float64) / 65536.0


def _sides(
    market: MarketFlow, rows: Ints, slot: Ints, word: Words
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    bought = market.buy_usd / (market.buy_usd + market.sell_usd)
    buy = _chance(word, 32) < bought[rows]
    # The first two trades take opposite sides, so that both volumes find a trade.
    lead = (market.second & 1).astype(bool)[rows]
    return np.where(slot == 0, lead, np.where(slot == 1, ~lead, buy))


def _prices(market: MarketFlow, rows: Ints, slot: Ints, count: Ints, luck: Floats) -> Floats:
    opened, closed = market.open[rows], market.close[rows]
    high, low = market.high[rows], market.low[rows]
    along = opened + (closed - opened) * (slot + 0.5) / np.maximum(count, 1)
    price = np.clip(along + (luck - 0.5) * 0.5 * (high - low), low, high)
    inner = np.maximum(count - 1, 1)
    at_low = (market.second[rows] * 7919) % inner
    at_high = (at_low + inner // 2) % inner
    price = np.where(slot == at_high, high, price)
    price = np.where(slot == at_low, low, price)
    return np.where(slot == count - 1, closed, price)


def _distribute(wanted: Ints, rows: Ints, weight: Ints, seconds: int) -> Ints:
    """`wanted` lots of each second, divided over its trades in proportion to `weight`."""
    if len(rows) == 0:
        return np.zeros(0, dtype=np.int64)
    running = np.cumsum(weight)
    count = np.bincount(rows, minlength=seconds)
    first = np.cumsum(count) - count
    before = np.where(count > 0, (running - weight)[np.minimum(first, len(rows) - 1)], 0)
    sums = np.bincount(rows, weights=weight, minlength=seconds).astype(np.int64)
    upto = running - before[rows]
    # Python-sized products would need more than 64 bits only beyond 10**11 lots in a second.
    lots = (wanted[rows] * upto) // sums[rows]
    previous = (wanted[rows] * (upto - weight)) // sums[rows]
    return np.asarray(lots - previous)
