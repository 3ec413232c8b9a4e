"""What a chart of a symbol shows: price, both CVDs and open interest, in a few thousand candles."""

from __future__ import annotations

import numpy as np

from aggr_server.wire import Market
from services.backtest.result import Candles
from services.backtest.sources.tape import Floats, Tape
from services.market.columns import Columns
from services.market.symbols import symbol_of

STEPS_S = (60, 300, 900, 1800, 3600, 14_400)
MOST = 3000


def step_for(length_s: int) -> int:
    """The shortest candle that needs at most 3000 of them, s."""
    return next((step for step in STEPS_S if length_s / step <= MOST), STEPS_S[-1])


def candles_of(tape: Tape, execution: Market, from_s: int, to_s: int, step_s: int) -> Candles:
    """Candles of [from_s, to_s) from the first price on; all markets of a class are summed."""
    found = Candles(
        symbol=symbol_of(tape.base),
        step_s=step_s,
        t=[],
        open=[],
        high=[],
        low=[],
        close=[],
        spot_cvd=[],
        perp_cvd=[],
        spot_volume=[],
        perp_volume=[],
        oi=[],
    )
    for columns in tape.columns(from_s, to_s):
        _add(found, columns, tape, execution)
    return found


def _add(found: Candles, columns: Columns, tape: Tape, execution: Market) -> None:
    seconds = np.arange(columns.from_s, columns.to_s)
    group = seconds // found.step_s - columns.from_s // found.step_s
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.append(starts[1:], len(group))
    flows = {kind: _flows(columns, kind, starts) for kind in ("spot", "perp")}
    market = next(m for m in columns.markets if m.market == execution)
    traded = market.buy + market.sell > 0.0
    cvd = {
        "spot": found.spot_cvd[-1] if found.t else 0.0,
        "perp": found.perp_cvd[-1] if found.t else 0.0,
    }
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        at = np.flatnonzero(traded[start:end]) + start
        for kind in cvd:
            cvd[kind] += float(flows[kind][0][i])
        if len(at):
            prices = (
                float(market.open[at[0]]),
                float(market.high[at].max()),
                float(market.low[at].min()),
                float(market.close[at[-1]]),
            )
        elif found.t:
            prices = (found.close[-1],) * 4
        else:
            continue
        t = columns.from_s + int(start)
        found.t.append(t // found.step_s * found.step_s)
        for row, price in zip(
            (found.open, found.high, found.low, found.close), prices, strict=True
        ):
            row.append(price)
        found.spot_cvd.append(cvd["spot"])
        found.perp_cvd.append(cvd["perp"])
        found.spot_volume.append(float(flows["spot"][1][i]))
        found.perp_volume.append(float(flows["perp"][1][i]))
        known = tape.oi.at(columns.from_s + int(end) - 1)
        found.oi.append(sum(known.values()) if known else None)


def _flows(
    columns: Columns, kind: str, starts: np.typing.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Delta and volume of every candle, quote USD."""
    buy = np.zeros(columns.to_s - columns.from_s)
    sell = np.zeros_like(buy)
    for m in columns.markets:
        if m.market.kind == kind:
            buy += m.buy
            sell += m.sell
    bought, sold = np.add.reduceat(buy, starts), np.add.reduceat(sell, starts)
    return bought - sold, bought + sold
