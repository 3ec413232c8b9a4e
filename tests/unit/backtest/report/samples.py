"""Results of backtests made by hand: of a scenario, and of any number of trades."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Literal

from services.backtest.result import (
    BacktestResult,
    Candles,
    Costs,
    Curve,
    Group,
    Groups,
    Metrics,
    SignalRow,
    Source,
    Span,
    TradeRow,
)
from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.run import run
from services.strategy.types import Entry, Exit, Second, Transition
from tests.unit.strategy import scenarios

SYMBOL = "BTCUSDT"
MIDNIGHT = scenarios.MIDNIGHT
STAKE = 100.0


def of_scenario(name: str, **changes: Any) -> BacktestResult:
    """A scenario with one trade, its fills at the prices of the decisions."""
    market = scenarios.generate(scenarios.SCENARIOS[name])
    seconds = list(market.seconds())
    events = list(run(SymbolEngine("BTC"), seconds))
    trades = [
        trade_row(i, entry, exit_)
        for i, (entry, exit_) in enumerate(_pairs(events, seconds[-1]), 1)
    ]
    end = seconds[-1].t + 1
    return result(_candles(seconds), trades, _spans(events, seconds[0].t, end), **changes)


def of_trades(count: int, minutes: int, **changes: Any) -> BacktestResult:
    """`count` trades spread over `minutes` of a price that swings."""
    times = [MIDNIGHT + 60 * i for i in range(minutes)]
    price = [60_000 * math.exp(0.02 * math.sin(i / 300) + 0.004 * math.sin(i / 7)) for i in
             range(minutes)]  # fmt: skip
    candles = Candles(
        symbol=SYMBOL,
        step_s=60,
        t=times,
        open=[price[max(0, i - 1)] for i in range(minutes)],
        high=[p * 1.0007 for p in price],
        low=[p * 0.9993 for p in price],
        close=price,
        spot_cvd=[1e6 * math.sin(i / 200) + 1e3 * i for i in range(minutes)],
        perp_cvd=[3e6 * math.cos(i / 170) for i in range(minutes)],
        spot_volume=[1e5] * minutes,
        perp_volume=[3e5] * minutes,
        oi=[80_000 + 900 * math.sin(i / 400) if i % 5 else None for i in range(minutes)],
    )
    every = max(1, minutes // max(1, count))
    trades = []
    for i in range(count):
        at = min(minutes - 2, i * every)
        until = min(minutes - 1, at + max(1, every // 2))
        entry = _entry(times[at], 1 if i % 2 else -1, price[at], 4.0 + 6.0 * (i % 7) / 7)
        trades.append(trade_row(i + 1, entry, (times[until], price[until], _reason(i))))
    spans = [Span(symbol=SYMBOL, state="WATCHING", direction=0, reason="warm",
                  from_s=times[0], to_s=times[-1])]  # fmt: skip
    return result(candles, trades, spans, **changes)


def _reason(i: int) -> str:
    return ("RANGE_BREAK", "FLOW_REVERSAL", "CVD_TREND", "CATASTROPHIC_STOP")[i % 4]


def result(
    candles: Candles, trades: list[TradeRow], spans: list[Span], **changes: Any
) -> BacktestResult:
    """A result that fits its trades; `changes` replace fields."""
    from_s, to_s = candles.t[0], candles.t[-1] + candles.step_s
    curve = _curve(candles, trades)
    values: dict[str, Any] = {
        "symbols": [candles.symbol],
        "from_s": from_s,
        "to_s": to_s,
        "sources": [_source(candles.symbol, from_s, to_s)],
        "costs": Costs(),
        "params": asdict(Params()),
        "overrides": {},
        "warnings": [],
        "metrics": metrics(trades, curve),
        "groups": Groups(
            tier=_groups(trades, [t.tier for t in trades]),
            exit_reason=_groups(trades, [t.exit_reason for t in trades]),
            direction=_groups(trades, ["long" if t.direction > 0 else "short" for t in trades]),
            symbol=_groups(trades, [t.symbol for t in trades]),
        ),
        "trades": trades,
        "signals": [_signal(trade) for trade in trades],
        "refusals": [],
        "curve": curve,
        "candles": [candles],
        "spans": spans,
    }
    return BacktestResult(**{**values, **changes})


def trade_row(number: int, entry: Entry, exit_: tuple[int, float, str]) -> TradeRow:
    """A trade without costs; `exit_`: second, price and reason."""
    t, price, reason = exit_
    gain = entry.direction * (price / entry.entry_price - 1.0) * entry.leverage
    direction: Literal[-1, 1] = 1 if entry.direction > 0 else -1
    return TradeRow(
        trade_id=number,
        signal_id=f"signal-{number}",
        setup_id=entry.setup_id,
        symbol=SYMBOL,
        direction=direction,
        score=entry.score,
        tier="high" if entry.score >= 8 else "medium" if entry.score >= 6 else "low",
        breakdown=dict(entry.breakdown),
        size_factor=entry.size_factor,
        leverage=entry.leverage,
        stake=STAKE * entry.size_factor,
        amount=STAKE * entry.leverage / entry.entry_price,
        entry_ms=entry.t * 1000,
        entry_price=entry.entry_price,
        signal_price=entry.entry_price,
        invalidation_price=entry.invalidation_price,
        stop_price=None,
        exit_ms=t * 1000,
        exit_price=price,
        exit_reason=reason,
        fees=0.1,
        funding=0.0,
        pnl=gain * STAKE * entry.size_factor,
        return_on_stake=gain,
        r_multiple=gain / 0.01,
        holding_s=t - entry.t,
        mae=min(0.0, gain) - 0.001,
        mfe=max(0.0, gain) + 0.001,
    )


def _entry(t: int, direction: int, price: float, score: float) -> Entry:
    values: dict[str, Any] = dict.fromkeys(Entry.__dataclass_fields__)
    values |= {
        "t": t,
        "direction": direction,
        "setup_id": f"BTC:{direction}:{t}",
        "score": score,
        "breakdown": {},
        "size_factor": 1.0,
        "leverage": 3,
        "entry_price": price,
        "invalidation_price": price * (1 - 0.01 * direction),
    }
    return Entry(**values)


def _pairs(events: Sequence[Any], last: Second) -> list[tuple[Entry, tuple[int, float, str]]]:
    pairs: list[tuple[Entry, tuple[int, float, str]]] = []
    entry: Entry | None = None
    for event in events:
        if isinstance(event, Entry):
            entry = event
        elif isinstance(event, Exit) and entry is not None:
            pairs.append((entry, (event.t, event.price, event.reason)))
            entry = None
    if entry is not None:
        pairs.append((entry, (last.t, last.close, "END_OF_DATA")))
    return pairs


def _spans(events: Sequence[Any], from_s: int, to_s: int) -> list[Span]:
    moves = [event for event in events if isinstance(event, Transition)]
    edges = [(from_s, "WARMUP", 0, "start")]
    edges += [(m.t, m.state.value, m.direction, m.reason) for m in moves]
    edges.append((to_s, "", 0, ""))
    return [
        Span(symbol=SYMBOL, state=state, direction=direction, reason=reason, from_s=t, to_s=end)
        for (t, state, direction, reason), (end, *_) in pairwise(edges)
        if end > t
    ]


def _candles(seconds: Sequence[Second]) -> Candles:
    minutes = [seconds[i : i + 60] for i in range(0, len(seconds), 60)]
    spot = perp = 0.0
    cvds: list[tuple[float, float]] = []
    for minute in minutes:
        spot += sum(s.spot_delta for s in minute)
        perp += sum(s.perp_delta for s in minute)
        cvds.append((spot, perp))
    return Candles(
        symbol=SYMBOL,
        step_s=60,
        t=[m[0].t for m in minutes],
        open=[m[0].open for m in minutes],
        high=[max(s.high for s in m) for m in minutes],
        low=[min(s.low for s in m) for m in minutes],
        close=[m[-1].close for m in minutes],
        spot_cvd=[one for one, _ in cvds],
        perp_cvd=[other for _, other in cvds],
        spot_volume=[sum(s.spot_volume for s in m) for m in minutes],
        perp_volume=[sum(s.perp_volume for s in m) for m in minutes],
        oi=[sum(m[-1].oi.values()) if m[-1].oi else None for m in minutes],
    )


def _curve(candles: Candles, trades: Sequence[TradeRow]) -> Curve:
    equity, drawdown, peak = [], [], 1000.0
    for t, close in zip(candles.t, candles.close, strict=True):
        value = 1000.0
        for trade in trades:
            if trade.exit_ms <= (t + 60) * 1000:
                value += trade.pnl
            elif trade.entry_ms <= (t + 60) * 1000:
                change = trade.direction * (close / trade.entry_price - 1.0)
                value += change * trade.leverage * trade.stake
        peak = max(peak, value)
        equity.append(value)
        drawdown.append(value / peak - 1.0)
    return Curve(t=[t + 59 for t in candles.t], equity=equity, drawdown=drawdown)


def metrics(trades: Sequence[TradeRow], curve: Curve) -> Metrics:
    """Figures of the right size; what they are exactly is not the report's concern."""
    wins = [t.pnl for t in trades if t.pnl > 0]
    losses = [t.pnl for t in trades if t.pnl <= 0]
    some = bool(trades)
    return Metrics(
        trades=len(trades),
        signals=len(trades),
        wallet_start=1000.0,
        wallet_end=curve.equity[-1],
        pnl=sum(wins) + sum(losses),
        total_return=curve.equity[-1] / 1000.0 - 1.0,
        cagr=0.183 if some else None,
        returns_of="hourly" if some else "",
        sharpe=1.42 if some else None,
        sortino=2.31 if some else None,
        calmar=None,
        max_drawdown=min(curve.drawdown),
        max_drawdown_abs=1000.0 * min(curve.drawdown),
        max_drawdown_s=5400,
        profit_factor=sum(wins) / -sum(losses) if losses and sum(losses) else None,
        expectancy=(sum(wins) + sum(losses)) / len(trades) if some else None,
        expectancy_r=0.3 if some else None,
        win_rate=len(wins) / len(trades) if some else None,
        average_win=sum(wins) / len(wins) if wins else None,
        average_loss=sum(losses) / len(losses) if losses else None,
        best=max(wins, default=None),
        worst=min(losses, default=None),
        median_holding_s=1800.0 if some else None,
        exposure=0.12 if some else 0.0,
        turnover=4.2,
        fees=0.1 * len(trades),
        funding=0.0,
        signals_per_day=1.0,
    )


def _groups(trades: Sequence[TradeRow], labels: Sequence[str]) -> list[Group]:
    groups = []
    for label in dict.fromkeys(labels):
        chosen = [t for t, other in zip(trades, labels, strict=True) if other == label]
        wins = sum(t.pnl > 0 for t in chosen)
        groups.append(
            Group(
                label=label,
                trades=len(chosen),
                pnl=sum(t.pnl for t in chosen),
                win_rate=wins / len(chosen),
                profit_factor=None,
                expectancy=sum(t.pnl for t in chosen) / len(chosen),
                expectancy_r=0.2,
                median_holding_s=1800.0,
                mae=-0.004,
                mfe=0.007,
            )
        )
    return groups


def _signal(trade: TradeRow) -> SignalRow:
    return SignalRow(
        signal_id=trade.signal_id,
        setup_id=trade.setup_id,
        symbol=trade.symbol,
        ts_ms=trade.entry_ms,
        action="LONG" if trade.direction > 0 else "SHORT",
        score=trade.score,
        tier=trade.tier,
        breakdown=trade.breakdown,
        confidence=0.7,
        size_factor=trade.size_factor,
        leverage=int(trade.leverage),
        entry_price=trade.entry_price,
        invalidation_price=trade.invalidation_price,
        stop_price=None,
        reset_type="A",
        env="NEUTRAL",
        oi_state="NEUTRAL",
        oi_z=None,
        coverage=1.0,
        spot_cvd=0.0,
        perp_cvd=0.0,
        reasoning="",
        outcome="profitable" if trade.pnl > 0 else "unprofitable",
        trade_id=trade.trade_id,
    )


def _source(symbol: str, from_s: int, to_s: int) -> Source:
    return Source(
        symbol=symbol,
        kind="trades",
        spot=["BINANCE:btcusdt"],
        perp=["BINANCE_FUTURES:btcusdt", "BYBIT:BTCUSDT"],
        execution_market="BINANCE_FUTURES:btcusdt",
        data_from_s=from_s,
        data_to_s=to_s,
        history_min=0,
        warm_from_s=from_s + 16_200,
        gaps_s=37,
        oi_samples=400,
        files=["trades.csv.gz"],
    )
