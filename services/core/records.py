"""The records that cross a wire between services, as JSON."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

SIGNAL_SCHEMA = "sf.signal.v1"

Action = Literal["LONG", "SHORT", "CLOSE"]
SignalEvent = Literal["ENTRY", "EXIT", "CANCEL"]
FillEvent = Literal["opened", "closed", "rejected"]


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """A decision of the strategy. Prices: quote per base on the execution market.

    `score`: 0 to 10. `ttl`: seconds the Redis key lives. `max_deviation`: largest accepted
    abs(ln(fill rate / entry_price)). `timestamp` is `ts_ms` as ISO-8601 UTC. `refreshed_ms`: when
    this copy was written; in channel and history, the time of publication. The last three fields
    belong to CLOSE signals and are None otherwise. `fence`: token of the lease under which the
    decision was taken; it only ever grows.
    """

    schema: str = SIGNAL_SCHEMA
    event: SignalEvent
    signal_id: str
    setup_id: str
    timestamp: str
    ts_ms: int
    refreshed_ms: int
    valid_until_ms: int
    symbol: str
    base_symbol: str
    pair: str
    action: Action
    score: float
    score_breakdown: dict[str, float]
    position_size_factor: float
    leverage: int
    entry_price: float
    invalidation_price: float
    max_deviation: float
    stop_price: float | None
    ttl: int
    confidence: float
    reset_type: Literal["A", "B"]
    context: dict[str, Any]
    oi: dict[str, Any]
    cvd: dict[str, Any]
    coverage: float
    reasoning: str
    strategy: str = "SqueezeFlowStrategy"
    service: str = "strategy_runner"
    mode: Literal["live", "paper", "backtest"]
    fence: int = 0
    bar_published_ms: int = 0
    parent_signal_id: str | None = None
    trade_id: int | None = None
    exit_reason: str | None = None


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """What the execution engine did with a signal; one entry of the fills stream, field `data`.

    `price`: average fill price; `amount`: base coins; `stake`: margin in quote; `pnl`: net profit
    in quote, `pnl_ratio`: the same on the stake (closed only). `ts_ms`: time of the fill.
    `signal_id` is that of the entry, also when the trade closes. `dry_run`: the money is simulated.
    """

    event: FillEvent
    signal_id: str
    symbol: str
    pair: str
    side: Literal["long", "short"]
    ts_ms: int
    trade_id: int | None = None
    price: float = 0.0
    amount: float = 0.0
    stake: float = 0.0
    leverage: float = 0.0
    reason: str = ""
    pnl: float = 0.0
    pnl_ratio: float = 0.0
    dry_run: bool = False


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """A service's sign of life, sent by its work loop every 5 s.

    `cycle_ms`: duration of the last turn of the loop. `status`: `ok`, or what is wrong in a few
    words. `details`: figures of the service's own.
    """

    service: str
    ts_ms: int
    pid: int
    cycle_ms: float
    status: str = "ok"
    details: dict[str, Any] = {}


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something the operator should know. `code` names the rule, `subject` what it is about.

    `ended_level`: level of the incident that this alert says is over; empty: it begins one.
    """

    level: Literal["info", "warning", "critical"]
    code: str
    text: str
    ts_ms: int
    symbol: str = ""
    subject: str = ""
    ended_level: Literal["", "info", "warning", "critical"] = ""


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """Position of the kill switch: while `halted`, no trade is entered; exits go on.

    The newest record counts. `by`: who set it, `reason`: why, both for the operator.
    """

    halted: bool
    ts_ms: int
    by: str = ""
    reason: str = ""


OpenInterestUnit = Literal["base", "contracts", "usd"]


class ContractInterest(msgspec.Struct, frozen=True, kw_only=True):
    """Open interest of one perpetual, one-sided. Fields as in `OpenInterest`.

    `contract`: its name at the venue. `linear`: margined in dollars, otherwise in the coin.
    """

    contract: str
    linear: bool
    ts_ms: int
    coins: float
    usd: float
    price: float
    raw: float
    unit: OpenInterestUnit


class OpenInterest(msgspec.Struct, frozen=True, kw_only=True):
    """One venue's open interest in one base symbol, one-sided: the sum over its perpetuals.

    `ts_ms`: the venue's time of the largest of them, or a few seconds before its answer if that is
    later, since the answer confirms the figure; `contracts` have the venue's own. `coins`: in base
    coins, which is what the strategy uses. `usd`: `coins` times `price`. `raw`/`unit`: as the venue
    published it, of a venue with several perpetuals only in `contracts`, as their units differ.
    """

    exchange: str
    base: str
    ts_ms: int
    coins: float
    usd: float
    price: float
    raw: float | None = None
    unit: OpenInterestUnit | None = None
    contracts: list[ContractInterest] = []


class OpenInterestShare(msgspec.Struct, frozen=True, kw_only=True):
    """A venue in a sum. `ts_ms`: the venue's time of the value.

    `change_24h`: of the coins over 24 hours, as a fraction; None without that history. `carried`:
    the venue's last poll brought nothing, this is its last value. `held`: it did, but a jump that
    is not believed yet; this is the value before it.
    """

    exchange: str
    coins: float
    usd: float
    price: float
    ts_ms: int
    change_24h: float | None = None
    carried: bool = False
    held: bool = False


class OpenInterestTotal(msgspec.Struct, frozen=True, kw_only=True):
    """Open interest of a base symbol summed over `venues`, with every venue's share.

    `ts_ms`: when the sum was taken. `missing`: venues that list such a perpetual and have no
    value younger than half an hour; while there are any, `coins` and `usd` are only a part.
    `change_24h`: of the coins, over the venues known at both times; None without any.
    """

    base: str
    ts_ms: int
    coins: float
    usd: float
    change_24h: float | None
    venues: list[OpenInterestShare]
    missing: list[str]
