"""The panels of the report, thinned out to what a screen can show and a browser can hold."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from services.backtest import result as found
from services.backtest.result import BacktestResult, Curve, TradeRow
from services.web.document import Candles, Line, Market, Panel, Span, Trade, Values

MAX_BARS = 12_000
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
DIGITS = 8


def markets(result: BacktestResult) -> list[Market]:
    """One chart for each symbol."""
    return [_market(result, candles) for candles in result.candles if candles.t]


def jumps(result: BacktestResult) -> list[tuple[int, int]]:
    """Where each trade is drawn: the market's number and its own in it."""
    shown = [candles.symbol for candles in result.candles if candles.t]
    counts = dict.fromkeys(shown, 0)
    found_at = []
    for trade in result.trades:
        if trade.symbol in counts:
            found_at.append((shown.index(trade.symbol), counts[trade.symbol]))
            counts[trade.symbol] += 1
    return found_at


@dataclass(frozen=True, slots=True)
class Axis:
    """`count` bars of `step` seconds from `start` on. Bar i covers [start + i*step, + step)."""

    start: int
    step: int
    count: int

    def bar(self, t: int) -> int:
        """The bar that second `t` falls into."""
        return (t - self.start) // self.step


def axis_of(candles: found.Candles) -> Axis:
    """A regular axis for the candles, with wider bars if they are too many."""
    first, end = candles.t[0], candles.t[-1] + candles.step_s
    fitting = (s for s in STEPS_S if s % candles.step_s == 0 and (end - first) // s <= MAX_BARS)
    step = next(fitting, max(candles.step_s, -(-(end - first) // MAX_BARS)))
    start = first // step * step
    return Axis(start, step, -(-(end - start) // step))


def _market(result: BacktestResult, candles: found.Candles) -> Market:
    axis = axis_of(candles)
    panels = [
        Panel(title=candles.symbol, weight=5.0, candles=prices(candles, axis)),
        Panel(title="", weight=0.45, strip=True),
        Panel(title="CVD", weight=2.6, shaded=True, lines=flows(candles, axis)),
    ]
    if any(value is not None for value in candles.oi):
        panels.append(Panel(title="Open interest", weight=1.3, lines=[_interest(candles, axis)]))
    if result.curve.t:
        equity, drawdown = _account(result.curve, axis)
        panels.append(Panel(title="Equity", weight=1.7, lines=[equity]))
        panels.append(Panel(title="Drawdown", weight=1.0, lines=[drawdown]))
    return Market(
        name=candles.symbol,
        start=axis.start,
        step=axis.step,
        count=axis.count,
        panels=panels,
        spans=[
            Span(s.from_s, s.to_s, s.state, s.direction)
            for s in result.spans
            if s.symbol == candles.symbol
        ],
        trades=[_trade(trade) for trade in result.trades if trade.symbol == candles.symbol],
    )


def prices(candles: found.Candles, axis: Axis) -> Candles:
    """Opening, highest, lowest and closing prices of the axis' bars."""
    opened, high, low, closed = (_nothing(axis) for _ in range(4))
    for i, t in enumerate(candles.t):
        bar = axis.bar(t)
        if opened[bar] is None:
            opened[bar], high[bar], low[bar] = candles.open[i], candles.high[i], candles.low[i]
        high[bar] = max(high[bar] or 0.0, candles.high[i])
        low[bar] = min(low[bar] or candles.low[i], candles.low[i])
        closed[bar] = candles.close[i]
    return Candles(*(_short(values) for values in (opened, high, low, closed)))


def flows(candles: found.Candles, axis: Axis) -> list[Line]:
    """Both CVDs, each on an axis of its own: their levels cannot be compared."""
    spot = _last_of(candles.t, candles.spot_cvd, axis)
    perp = _last_of(candles.t, candles.perp_cvd, axis)
    return [
        Line(name="spot", values=spot, color="spot", kind="usd", axis="left"),
        Line(name="perp", values=perp, color="perp", kind="usd", axis="right"),
    ]


def _interest(candles: found.Candles, axis: Axis) -> Line:
    values = _last_of(candles.t, candles.oi, axis)
    return Line(name="coins", values=values, color="oi", kind="coins", steps=True)


def _account(curve: Curve, axis: Axis) -> tuple[Line, Line]:
    equity, drawdown = _nothing(axis), _nothing(axis)
    for bar in range(axis.count):
        at = bisect_right(curve.t, axis.start + (bar + 1) * axis.step - 1) - 1
        if at >= 0:
            equity[bar] = curve.equity[at]
            # The worst of the bar must not vanish when bars are wide.
            first = bisect_right(curve.t, axis.start + bar * axis.step - 1)
            drawdown[bar] = min(curve.drawdown[min(first, at) : at + 1])
    return (
        Line(name="", values=_short(equity), color="equity", kind="amount", area="above"),
        Line(name="", values=_short(drawdown), color="drawdown", kind="share", area="below"),
    )


def _trade(trade: TradeRow) -> Trade:
    side = "long" if trade.direction > 0 else "short"
    words = (
        f"{side} {trade.score:.2f}  {100 * trade.return_on_stake:+.2f} %  "
        f"{trade.exit_reason.lower().replace('_', ' ')}"
    ).replace("-", "\u2212")
    return Trade(
        from_s=trade.entry_ms / 1000,
        entry=trade.entry_price,
        side=trade.direction,
        to_s=trade.exit_ms / 1000,
        exit=trade.exit_price,
        won=trade.pnl > 0,
        text=words,
    )


def _last_of(times: Sequence[int], values: Sequence[float | None], axis: Axis) -> Values:
    thinned = _nothing(axis)
    for t, value in zip(times, values, strict=True):
        thinned[axis.bar(t)] = value
    return _short(thinned)


def _nothing(axis: Axis) -> Values:
    return [None] * axis.count


def _short(values: Values) -> Values:
    return [None if value is None else float(f"{value:.{DIGITS}g}") for value in values]
