"""Trades and flow reduced to bars, vectorised; for the history and for candles."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from services.simulator.instruments import Instrument
from services.simulator.noise import Floats, Ints
from services.simulator.trades import Batch, MarketFlow


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of one market, one value per bar that has a trade.

    `time`: second at which the bar opens, relative to the anchor. Volumes in quote by taker side,
    `lbuy`/`lsell` of forced orders; `bought`/`sold`: base coins.
    """

    time: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    vbuy: Floats
    vsell: Floats
    lbuy: Floats
    lsell: Floats
    bought: Floats
    sold: Floats
    cbuy: Ints
    csell: Ints


_FIRST, _LAST, _MAX, _MIN = ("time", "open"), ("close",), ("high",), ("low",)


def of_trades(batch: Batch, instrument: Instrument) -> Bars:
    """One-second bars, exactly those that the trades of `batch` make."""
    price = batch.ticks / 10.0**instrument.price_decimals
    units = batch.lots / 10.0**instrument.lot_decimals
    usd = units * (instrument.inverse_usd or price)
    base = usd / price if instrument.inverse_usd else units
    buy, sell = batch.buy.astype(np.float64), (~batch.buy).astype(np.float64)
    forced = batch.forced.astype(np.float64)
    return _group(
        Bars(
            batch.second, price, price, price, price,
            usd * buy, usd * sell, usd * buy * forced, usd * sell * forced,
            base * buy, base * sell, batch.buy.astype(np.int64), (~batch.buy).astype(np.int64),
        ),
        batch.second,
    )  # fmt: skip


def of_flow(flow: MarketFlow, instrument: Instrument) -> Bars:
    """One-second bars as the flow has them: prices on the tick, volumes not cut into trades."""
    scale = 10.0**instrument.price_decimals
    o, h, lo, c = (np.rint(p * scale) / scale for p in (flow.open, flow.high, flow.low, flow.close))
    none = np.zeros(len(flow.second))
    half = np.full(len(flow.second), max(1, round(instrument.rate / 2)), dtype=np.int64)
    return Bars(
        flow.second, o, h, lo, c, flow.buy_usd, flow.sell_usd, none, none,
        flow.buy_usd / flow.close, flow.sell_usd / flow.close, half, half,
    )  # fmt: skip


def rolled_up(bars: Bars, length_s: int, anchor: int) -> Bars:
    """Bars of `length_s` seconds, aligned to the UTC epoch; `time` stays relative to `anchor`."""
    label = (bars.time + anchor) // length_s
    longer = _group(bars, label)
    starts = np.unique(label) * length_s - anchor
    return Bars(starts, *(getattr(longer, field.name) for field in fields(Bars)[1:]))


def cut(bars: Bars, start: int, end: int) -> Bars:
    """The bars whose time lies in [start, end)."""
    first, last = np.searchsorted(bars.time, [start, end])
    return Bars(*(getattr(bars, field.name)[first:last] for field in fields(Bars)))


def joined(pieces: list[Bars]) -> Bars:
    """Consecutive pieces as one."""
    return Bars(*(np.concatenate([getattr(p, f.name) for p in pieces]) for f in fields(Bars)))


def _group(bars: Bars, label: Ints) -> Bars:
    if len(label) == 0:
        return bars
    first = np.flatnonzero(np.concatenate(([True], label[1:] != label[:-1])))
    last = np.concatenate((first[1:], [len(label)])) - 1
    columns = []
    for field in fields(Bars):
        values = getattr(bars, field.name)
        if field.name in _FIRST:
            columns.append(values[first])
        elif field.name in _LAST:
            columns.append(values[last])
        elif field.name in _MAX:
            columns.append(np.maximum.reduceat(values, first))
        elif field.name in _MIN:
            columns.append(np.minimum.reduceat(values, first))
        else:
            columns.append(np.add.reduceat(values, first))
    return Bars(*columns)
