"""What the strategy sees of each symbol, once a second, for people: no decision rests on it."""

from __future__ import annotations

import msgspec


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """A condition of the next step of the method. `text`: for people, with both figures.

    `have`, `need`: what is there and what it takes, None where the condition is no comparison.
    """

    code: str
    text: str
    met: bool
    have: float | None = None
    need: float | None = None


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The legs of a divergence over the last `minutes`; z: in scales, gap: spot minus perp.

    Scales are robust standard deviations: of the flows in quote USD, of the log price, and
    `scale_gap` of z_spot - z_perp. None while they are not known.
    """

    minutes: int
    z_spot: float | None = None
    z_perp: float | None = None
    z_price: float | None = None
    gap: float | None = None
    holds: bool = False
    scale_spot: float | None = None
    scale_perp: float | None = None
    scale_price: float | None = None
    scale_gap: float | None = None


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """A squeeze that is building up. Times: UTC seconds; the extreme of the reset: a price."""

    setup_id: str
    direction: int
    anchor_t: int
    peak_t: int | None = None
    reset_type: str = ""
    extreme_price: float | None = None
    tests: int = 0
    oi_state: str = ""
    oi_z: float | None = None


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """An open position as the strategy manages it; prices on the execution market.

    `reversal`, `reversal_needed`: how much of the flow's best has been given back, 0 to 1.
    """

    trade_id: int
    signal_id: str
    direction: int
    entry_t: int
    entry_price: float
    invalidation_price: float | None = None
    reversal: float | None = None
    reversal_needed: float | None = None


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol at the close of second `t`. `since_t`: when it entered `state`.

    `direction`: 1 long, -1 short, 0 none. `price`: on the execution market. `c_spot`, `c_perp`:
    the strategy's CVDs, quote USD. `score`: 0 to 10, None without a setup; `parts`: its points by
    part, at most `parts_max`. `waits`: every condition between here and the next step. `warm_at_t`:
    when the symbol may decide at the latest, None if it does already.
    """

    symbol: str
    base: str
    t: int
    state: str
    direction: int = 0
    since_t: int | None = None
    price: float | None = None
    c_spot: float | None = None
    c_perp: float | None = None
    coverage: float | None = None
    degraded: bool = False
    environment: str = "NEUTRAL"
    warm_at_t: int | None = None
    cooldown_until_t: int | None = None
    windows: list[Window] = []
    setup: Setup | None = None
    score: float | None = None
    score_needed: float = 0.0
    parts: dict[str, float] = {}
    parts_max: dict[str, float] = {}
    waits: list[Wait] = []
    signal_id: str = ""
    position: Position | None = None


class Views(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a replica on `names.VIEWS`: the symbols it leads."""

    replica: str
    ts_ms: int
    views: list[View]
