"""What a backtest found out: everything a report or another program needs, JSON-able.

Times: `_ms` UTC milliseconds, `_s` or `t` UTC seconds. Prices: quote per base on the execution
market. Money: quote currency. A figure that is not defined is None, never 0.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from services.influx_signal_manager import Outcome

SCHEMA = "sf.backtest.v1"

Action = Literal["LONG", "SHORT", "CLOSE"]


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What is assumed of the execution.

    `fee_rate`: of the notional, at entry and at exit. `slippage_bp`: basis points, always against
    the trade. `fill_delay_s`: seconds from the second that decides to the one that fills. `wallet`:
    money at the start; `stake`: margin of a trade of size factor 1. `maintenance_rate`: maintenance
    margin of the notional, below which an isolated position is liquidated. `risk_frac`: most that a
    trade may lose up to its invalidation price, share of the equity; 0: no such limit.
    """

    fee_rate: float = 0.0005
    slippage_bp: float = 1.0
    fill_delay_s: int = 2
    wallet: float = 1000.0
    stake: float = 100.0
    max_open_trades: int = 5
    max_leverage: int = 5
    maintenance_rate: float = 0.005
    risk_frac: float = 0.0


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the data of one symbol came from. `[data_from_s, data_to_s)`: one-second data.

    `warm_from_s`: first second of WATCHING, None if the warm-up never ended. `gaps_s`: seconds of
    recorded gaps, summed over markets. `oi_samples`: 0 without open interest.
    """

    symbol: str
    kind: Literal["influxdb", "bars", "trades"]
    spot: list[str]
    perp: list[str]
    execution_market: str
    data_from_s: int
    data_to_s: int
    history_min: int = 0
    warm_from_s: int | None = None
    gaps_s: int = 0
    oi_samples: int = 0
    funding_samples: int = 0
    files: list[str] = []


class Candles(msgspec.Struct, frozen=True, kw_only=True):
    """What the strategy saw of one symbol, one element for every `step_s` seconds from `t` on.

    `open` to `close`: reference price. `spot_cvd`, `perp_cvd`: at the end of the candle, quote USD,
    0 at the start of the backtest; only differences carry meaning. `oi`: open interest in base
    coins, summed over venues, None where unknown. `spot_volume`, `perp_volume`: quote USD.
    """

    symbol: str
    step_s: int
    t: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    spot_cvd: list[float]
    perp_cvd: list[float]
    spot_volume: list[float]
    perp_volume: list[float]
    oi: list[float | None]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """The symbol was in `state` over [from_s, to_s); `reason`: why it got there."""

    symbol: str
    state: str
    direction: int
    reason: str
    from_s: int
    to_s: int


class SignalRow(msgspec.Struct, kw_only=True):
    """A published signal and what became of it.

    `ts_ms`: decision. `breakdown`: points of the five parts, empty for CLOSE. `parent_signal_id`,
    `exit_reason`: CLOSE only. `trade_id`: None if it was not filled.
    """

    signal_id: str
    setup_id: str
    symbol: str
    ts_ms: int
    action: Action
    score: float
    tier: str
    breakdown: dict[str, float]
    confidence: float
    size_factor: float
    leverage: int
    entry_price: float
    invalidation_price: float
    stop_price: float | None
    reset_type: str
    env: str
    oi_state: str
    oi_z: float | None
    coverage: float
    spot_cvd: float
    perp_cvd: float
    reasoning: str
    outcome: Outcome = "pending"
    outcome_reason: str = ""
    parent_signal_id: str | None = None
    exit_reason: str | None = None
    trade_id: int | None = None
    pnl: float | None = None


class TradeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A position from its fill to its end.

    `stake`: margin. `fees`: paid at both ends. `funding`: received (paid if negative). `pnl`: net
    of both; `return_on_stake`: `pnl / stake`. `r_multiple`: `pnl` over what the way from entry to
    invalidation price would have cost. `mae`, `mfe`: worst and best price while it was open, as a
    signed fraction of the entry price (mae <= 0 <= mfe). `exit_reason`: the strategy's, or
    CATASTROPHIC_STOP, LIQUIDATION, END_OF_DATA. `open_at_end`: closed only because the data end.
    """

    trade_id: int
    signal_id: str
    setup_id: str
    symbol: str
    direction: Literal[-1, 1]
    score: float
    tier: str
    breakdown: dict[str, float]
    size_factor: float
    leverage: float
    stake: float
    amount: float
    entry_ms: int
    entry_price: float
    signal_price: float
    invalidation_price: float
    stop_price: float | None
    exit_ms: int
    exit_price: float
    exit_reason: str
    fees: float
    funding: float
    pnl: float
    return_on_stake: float
    r_multiple: float | None
    holding_s: float
    mae: float
    mfe: float
    open_at_end: bool = False


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that was not executed: refused by the validator or by the execution."""

    symbol: str
    t: int
    by: Literal["validator", "execution"]
    reason: str
    signal_id: str = ""
    setup_id: str = ""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Marked to market at the end of each minute. `drawdown`: fraction below the peak, <= 0."""

    t: list[int]
    equity: list[float]
    drawdown: list[float]


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Standard figures; see `services.backtest.metrics` for the formulas.

    Ratios are fractions. `sharpe`, `sortino`: annualised from `returns_of` returns of the equity.
    `exposure`: share of the time with a position open; `turnover`: traded notional over the wallet.
    """

    trades: int
    signals: int
    wallet_start: float
    wallet_end: float
    pnl: float
    total_return: float
    cagr: float | None
    returns_of: Literal["daily", "hourly", ""]
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float
    max_drawdown_abs: float
    max_drawdown_s: int
    profit_factor: float | None
    expectancy: float | None
    expectancy_r: float | None
    win_rate: float | None
    average_win: float | None
    average_loss: float | None
    best: float | None
    worst: float | None
    median_holding_s: float | None
    exposure: float | None
    turnover: float
    fees: float
    funding: float
    signals_per_day: float | None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The trades that share `label`: a score tier, exit reason, direction or symbol."""

    label: str
    trades: int
    pnl: float
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None
    expectancy_r: float | None
    median_holding_s: float | None
    mae: float | None
    mfe: float | None


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """The same trades, split four ways."""

    tier: list[Group]
    exit_reason: list[Group]
    direction: list[Group]
    symbol: list[Group]


class SweepRow(msgspec.Struct, frozen=True, kw_only=True):
    """One combination of parameters over the whole time."""

    values: dict[str, Any]
    metrics: Metrics


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters chosen on [in_from_s, in_to_s) and then used on [in_to_s, out_to_s)."""

    in_from_s: int
    in_to_s: int
    out_to_s: int
    values: dict[str, Any]
    in_sample: Metrics
    out_of_sample: Metrics


class BacktestResult(msgspec.Struct, frozen=True, kw_only=True):
    """One run over [from_s, to_s). `overrides`: the parameters that differ from the defaults."""

    schema: str = SCHEMA
    symbols: list[str]
    from_s: int
    to_s: int
    sources: list[Source]
    costs: Costs
    params: dict[str, Any]
    overrides: dict[str, Any]
    warnings: list[str]
    metrics: Metrics
    groups: Groups
    trades: list[TradeRow]
    signals: list[SignalRow]
    refusals: list[Refusal]
    curve: Curve
    candles: list[Candles]
    spans: list[Span]
    alerts: list[str] = []
    sweep: list[SweepRow] = []
    walk_forward: list[Split] = []
