"""What goes into the strategy each second, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class State(StrEnum):
    """Where a symbol stands in the method."""

    WARMUP = "WARMUP"
    WATCHING = "WATCHING"
    DIVERGENCE = "DIVERGENCE"
    RESET = "RESET"
    ENTRY_READY = "ENTRY_READY"
    IN_POSITION = "IN_POSITION"
    CLOSING = "CLOSING"
    COOLDOWN = "COOLDOWN"


class Environment(StrEnum):
    """The larger context; named after the trapped side."""

    SHORT_SQUEEZE = "SHORT_SQUEEZE"
    LONG_SQUEEZE = "LONG_SQUEEZE"
    NEUTRAL = "NEUTRAL"


class Second(NamedTuple):
    """One closed second of a base symbol, all markets of a class summed.

    `t`: UTC second. Deltas: taker buy minus taker sell, volumes: their sum, in quote USD. Prices:
    reference market, spliced, so that they never jump when the market changes. `oi`: exchange ->
    open interest in base coins as of `t`, none older than 30 minutes. `degraded`: the data of this
    second must not be trusted. `composition_frozen`: the set of markets has just changed much.
    """

    t: int
    spot_delta: float
    perp_delta: float
    spot_volume: float
    perp_volume: float
    open: float
    high: float
    low: float
    close: float
    coverage: float = 1.0
    degraded: bool = False
    composition_frozen: bool = False
    oi: Mapping[str, float] = {}


class Minute(NamedTuple):
    """One closed minute, for history older than the one-second data.

    `t`: UTC second at which the minute starts, a multiple of 60. The other fields as in `Second`,
    summed or spanned over the minute; `oi` as of its end.
    """

    t: int
    spot_delta: float
    perp_delta: float
    spot_volume: float
    perp_volume: float
    open: float
    high: float
    low: float
    close: float
    oi: Mapping[str, float] = {}


class Loaded(NamedTuple):
    """How much history a symbol has. `thin`: series without a scale although minutes suffice.

    `minutes` closed, `seconds` in the window, `oi_minutes` with open interest.
    """

    minutes: int
    seconds: int
    oi_minutes: int
    thin: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenPosition:
    """An open position as the execution engine knows it, to be adopted after a restart.

    `spot_since_entry`, `perp_since_entry`: sums of the deltas of the seconds after `entry_t` up to
    and including the engine's current second, in quote USD. `best_spot`: largest favourable
    `direction * spot_since_entry` so far. `invalidation_price` (spliced) None: it is put at the
    largest distance an entry may have. `r5`: five-minute range of the setup, None: the current one.
    """

    trade_id: int
    direction: int
    entry_t: int
    entry_price: float
    spot_since_entry: float = 0.0
    perp_since_entry: float = 0.0
    best_spot: float = 0.0
    invalidation_price: float | None = None
    r5: float | None = None
    score: float = 0.0
    signal_id: str = ""
    setup_id: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """The symbol moved to another state. `direction`: +1 long, -1 short, 0 none."""

    t: int
    previous: State
    state: State
    reason: str
    direction: int


@dataclass(frozen=True, slots=True)
class Entry:
    """The entry trigger has fired. The caller answers with `accept` or `refuse`, at once.

    Prices are spliced reference prices. `stop_distance`: log distance of the catastrophic stop
    from the entry price (None: disabled). `breakdown`: points of the five parts. `record`: every
    value of all five phases at this second. `number`: counts the setup's signals, from 1.
    """

    t: int
    direction: int
    setup_id: str
    score: float
    breakdown: Mapping[str, float]
    size_factor: float
    leverage: int
    confidence: float
    reset_type: str
    environment: Environment
    context_k: float
    oi_state: str
    oi_z: float | None
    coverage: float
    entry_price: float
    invalidation_price: float
    max_deviation: float
    stop_distance: float | None
    spot_cvd: float
    perp_cvd: float
    reasoning: str
    record: Mapping[str, Any] = field(default_factory=dict)
    number: int = 1


@dataclass(frozen=True, slots=True)
class Exit:
    """A position must be closed; repeated by the caller until it is. `record` as in `Entry`."""

    t: int
    direction: int
    reason: str
    price: float
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The signal that waited for its fill is no longer valid."""

    t: int
    reason: str


@dataclass(frozen=True, slots=True)
class Expired:
    """The signal was not filled within its window."""

    t: int


Event = Transition | Entry | Exit | Cancelled | Expired
