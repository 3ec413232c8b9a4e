"""From the strategy's events to the signals that travel."""

from __future__ import annotations

import math
import uuid
from typing import Literal, NamedTuple

import msgspec

from services.core.records import Signal
from services.influx_signal_manager import PointKey, iso, point_key
from services.market.reference import Reference
from services.strategy.params import Params
from services.strategy.types import Entry, Exit

CLOSE_VALID_MS = 60_000
FAST_TTL_S = 5
SLOW_TTL_S = 600
REASONING_LENGTH = 300

SIGNAL_IDS = uuid.UUID("6c7e4c1e-2f0b-5d56-9c53-2f4b8d1f7a90")
"""Namespace of the signals' ids (RFC 9562, version 5)."""


class Names(NamedTuple):
    """The canonical names of what is traded."""

    base: str
    symbol: str
    pair: str


class Context(NamedTuple):
    """What a signal says besides the strategy's own values."""

    now_ms: int
    ttl_s: int
    mode: Literal["live", "paper", "backtest"]
    fence: int
    published_ms: int
    epoch: str
    entry_window_s: int
    note: str = ""


class Holding(msgspec.Struct, kw_only=True):
    """The signal that waits for its fill, or the position it led to.

    Prices: spliced reference prices. `direction`: +1 or -1. `key`: the signal's point in InfluxDB,
    None if the position was not opened by a known signal.
    """

    signal_id: str
    setup_id: str
    direction: int
    leverage: int
    entry_price: float
    invalidation_price: float | None
    r5: float | None
    score: float = 0.0
    env: str = ""
    trade_id: int | None = None
    opened_ms: int | None = None
    key: PointKey | None = None
    exit_reason: str | None = None
    close_key: PointKey | None = None
    close_since_ms: int | None = None


def entry_id(setup_id: str, number: int) -> str:
    """Id of a setup's signal, counted from 1: whoever takes the decision, it has the same id."""
    return str(uuid.uuid5(SIGNAL_IDS, f"{setup_id}:{number}"))


def close_id(holding: Holding, symbol: str, t: int) -> str:
    """Id of the close decided in second `t`; its parent is the entry, or the trade without one."""
    parent = holding.signal_id or f"{symbol}:trade:{holding.trade_id}"
    return str(uuid.uuid5(SIGNAL_IDS, f"{parent}:close:{t}"))


def holding_of(entry: Entry, signal: Signal, params: Params) -> Holding:
    """What to remember of an entry that was published as `signal`."""
    return Holding(
        signal_id=signal.signal_id,
        setup_id=entry.setup_id,
        direction=entry.direction,
        leverage=entry.leverage,
        entry_price=entry.entry_price,
        invalidation_price=entry.invalidation_price,
        r5=entry.max_deviation / params.max_dev_r5,
        score=entry.score,
        env=str(entry.environment),
        key=point_key(signal),
    )


def reset_extreme(holding: Holding, params: Params) -> float | None:
    """The price from which the invalidation price was derived; None if unknown."""
    if holding.invalidation_price is None or holding.r5 is None:
        return None
    return holding.invalidation_price * math.exp(holding.direction * params.rb_buf * holding.r5)


def entry_signal(who: Names, entry: Entry, reference: Reference, context: Context) -> Signal:
    """The signal of an entry; prices are those of the execution market."""
    price = reference.execution_price(entry.entry_price)
    stop = (
        price * math.exp(-entry.direction * entry.stop_distance)
        if entry.stop_distance is not None
        else None
    )
    return Signal(
        event="ENTRY",
        signal_id=entry_id(entry.setup_id, entry.number),
        setup_id=entry.setup_id,
        timestamp=iso(context.now_ms),
        ts_ms=context.now_ms,
        refreshed_ms=context.now_ms,
        valid_until_ms=context.now_ms + context.entry_window_s * 1000,
        symbol=who.symbol,
        base_symbol=who.base,
        pair=who.pair,
        action="LONG" if entry.direction > 0 else "SHORT",
        score=entry.score,
        score_breakdown=dict(entry.breakdown),
        position_size_factor=entry.size_factor,
        leverage=entry.leverage,
        entry_price=price,
        invalidation_price=reference.execution_price(entry.invalidation_price),
        max_deviation=entry.max_deviation,
        stop_price=stop,
        ttl=context.ttl_s,
        confidence=entry.confidence,
        reset_type="A" if entry.reset_type == "A" else "B",
        context={"env": str(entry.environment), "k": entry.context_k},
        oi={"state": entry.oi_state, "z": entry.oi_z},
        cvd=_cvd(entry.spot_cvd, entry.perp_cvd, context.epoch, entry.t),
        coverage=entry.coverage,
        reasoning=_noted(entry.reasoning, context.note),
        mode=context.mode,
        fence=context.fence,
        bar_published_ms=context.published_ms,
    )


def close_signal(
    who: Names,
    exit_: Exit,
    holding: Holding,
    reference: Reference,
    cvd: tuple[float, float],
    context: Context,
) -> Signal:
    """The signal that asks for the end of a position."""
    price = reference.execution_price(exit_.price)
    invalidation = holding.invalidation_price
    return Signal(
        event="EXIT",
        signal_id=close_id(holding, who.symbol, exit_.t),
        setup_id=holding.setup_id,
        timestamp=iso(context.now_ms),
        ts_ms=context.now_ms,
        refreshed_ms=context.now_ms,
        valid_until_ms=context.now_ms + CLOSE_VALID_MS,
        symbol=who.symbol,
        base_symbol=who.base,
        pair=who.pair,
        action="CLOSE",
        score=holding.score,
        score_breakdown={},
        position_size_factor=1.0,
        leverage=holding.leverage,
        entry_price=price,
        invalidation_price=reference.execution_price(invalidation) if invalidation else price,
        max_deviation=0.0,
        stop_price=None,
        ttl=context.ttl_s,
        confidence=1.0,
        reset_type="A",
        context={"env": holding.env, "k": 0.0},
        oi={"state": "", "z": None},
        cvd=_cvd(*cvd, context.epoch, exit_.t),
        coverage=1.0,
        reasoning=f"exit: {exit_.reason}",
        mode=context.mode,
        fence=context.fence,
        bar_published_ms=context.published_ms,
        parent_signal_id=holding.signal_id or None,
        trade_id=holding.trade_id,
        exit_reason=exit_.reason,
    )


def cancel_signal(signal: Signal, reason: str, now_ms: int) -> Signal:
    """Tells that `signal` is withdrawn; it keeps its id."""
    return msgspec.structs.replace(
        signal, event="CANCEL", refreshed_ms=now_ms, valid_until_ms=now_ms, reasoning=reason
    )


def _noted(reasoning: str, note: str) -> str:
    if not note:
        return reasoning[:REASONING_LENGTH]
    return f"{reasoning[: REASONING_LENGTH - len(note) - 2]}; {note}"


def _cvd(spot: float, perp: float, epoch: str, t: int) -> dict[str, float | int | str]:
    return {"spot": spot, "perp": perp, "epoch_id": epoch, "ts_ms": (t + 1) * 1000}
