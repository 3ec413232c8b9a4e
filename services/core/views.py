"""What the strategy sees of each symbol, once a second, for people: no decision rests on it.

States and what follows them: WARMUP (too little history) -> WATCHING (for spot and perpetual
traders pulling in opposite directions) -> DIVERGENCE (they do; their gap is to close again) ->
RESET (it closes; the score builds up) -> ENTRY_READY (a signal waits for its fill) -> IN_POSITION
-> CLOSING (an exit waits for its fill) -> COOLDOWN -> WATCHING.

"z" is the unit of changes: robust standard deviations of this symbol's own changes over as long.
"ranges" are distances of price in median ranges of five minutes.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Bound = Literal["least", "most"]
Kind = Literal["step", "guard", "points", "entry"]


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """A condition in the newest second. `text`: for people, complete, with both figures.

    `have`, `need`: what is there and what it takes, None where the condition is no comparison or
    the figure is not known. `bound`: `have` must be at `least` or at `most` `need`; a gauge of it
    is full at `need`. `unit`: of both: z, ranges, share (0 to 1), points (of the score), s, min,
    price (quote per base, execution market), log (of a price ratio), slots, signals or nothing.
    `met` is the method's own verdict, which counts; on the bound itself it may be either.

    `kind` says what it is a condition of:
    - `step`: of the step to `View.next_state`. It comes in the first second in which all are met.
      Those with a `way` are alternatives: it takes all of the same `way` and all without one. Ways
      of a reset: A (the gap closes and everything calms down) and B (it closes in one burst); in
      IN_POSITION each reason to leave is one, such as RANGE_BREAK. There, met is what ends it.
    - `guard`: of going on. One that is not met takes the symbol back: `new_peak` from RESET to
      DIVERGENCE, `expired` from ENTRY_READY to COOLDOWN, the others there to RESET (after the last
      signal of a set-up to WATCHING), those of DIVERGENCE and RESET to WATCHING.
    - `points`: a part of the score against its most, `code` as in `View.parts`. Not needed for the
      step, but what lacks the score may come from here. Open interest may take points away.
    - `entry`: of a signal to go out, whatever the symbol's state: risk limits, kill switch, data.

    `code` names the condition within its `kind` and `way`. Conditions that are hardly ever in the
    way are told only while they are.
    """

    code: str
    text: str
    met: bool
    have: float | None = None
    need: float | None = None
    bound: Bound = "least"
    unit: str = ""
    kind: Kind = "step"
    way: str = ""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The legs of a divergence over the last `minutes`, positive upwards; z: in scales.

    `gap`: (z_spot - z_perp) / scale_gap, positive for a long. `holds`: it is a divergence in this
    second, of the direction that the gap has. Scales are robust standard deviations: of the flows
    in quote USD, of the log price, and `scale_gap` of z_spot - z_perp. None while not known.
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
    """A squeeze that is building up. Times: UTC seconds; the extreme of the reset: a price.

    The divergence began at `anchor_t` and was certain at `detected_t`, over `window_min` minutes.
    `gap`: between the legs since the anchor, z, in the direction of the set-up; it was largest at
    `peak_t` (`gap_peak`), and the share `closed` of that is closed (negative: it widens, over 1: it
    has turned). `extreme_price`: the farthest that price went against it since. `tests`: how often
    price came back to it. `reset_type`: A or B from `reset_t` on, else empty. `oi_state`: STRONG,
    WEAK, NEUTRAL, CONTRADICT or UNAVAILABLE, as of the last minute in RESET, `oi_z` its change.
    `signals`: how many have gone out.
    """

    setup_id: str
    direction: int
    anchor_t: int
    detected_t: int | None = None
    window_min: int | None = None
    peak_t: int | None = None
    gap: float | None = None
    gap_peak: float | None = None
    closed: float | None = None
    reset_type: str = ""
    reset_t: int | None = None
    extreme_price: float | None = None
    tests: int = 0
    signals: int = 0
    oi_state: str = ""
    oi_z: float | None = None


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """An open position as the strategy manages it; prices on the execution market.

    `reversal`: how much of the best spot flow since the entry has been given back, 0 to 1, None
    while there was none; `reversal_needed`: how much of it ends the position. `score`: that of the
    entry. `exit_reason`: of the exit that waits for its fill, else empty.
    """

    trade_id: int
    signal_id: str
    direction: int
    entry_t: int
    entry_price: float
    invalidation_price: float | None = None
    reversal: float | None = None
    reversal_needed: float | None = None
    score: float | None = None
    exit_reason: str = ""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol at the close of second `t`. `since_t`: when it entered `state`, None: not known.

    `direction`: 1 long, -1 short, 0 none; `toward`: in WATCHING, that of the divergence which is
    nearest and whose conditions are told. `next_state`: where the method goes on to. `price`: on
    the execution market. `c_spot`, `c_perp`: the strategy's CVDs, quote USD. `coverage`: share of
    the volume whose markets live; `degraded`: this second cannot be judged. `environment`: the side
    that is trapped by the hours before (SHORT_SQUEEZE, LONG_SQUEEZE, NEUTRAL), with its strength
    `k`, -1 to 1. `score`: 0 to 10, None without a reset; `parts`: its points by part, at most
    `parts_max`, which is not all 10 points but 10 and those of open interest. `waits`: every
    condition between here and the next step. `gap_needed`: gap that a divergence takes, in scales.
    `warm_at_t`: when the symbol may decide at the latest, None if it does already or nobody knows.
    `signal_id`: of the signal that waits, or that the position came from.
    """

    symbol: str
    base: str
    t: int
    state: str
    direction: int = 0
    since_t: int | None = None
    toward: int = 0
    next_state: str = ""
    price: float | None = None
    c_spot: float | None = None
    c_perp: float | None = None
    coverage: float | None = None
    degraded: bool = False
    environment: str = "NEUTRAL"
    k: float | None = None
    warm_at_t: int | None = None
    cooldown_until_t: int | None = None
    windows: list[Window] = []
    setup: Setup | None = None
    score: float | None = None
    score_needed: float = 0.0
    gap_needed: float | None = None
    parts: dict[str, float] = {}
    parts_max: dict[str, float] = {}
    waits: list[Wait] = []
    signal_id: str = ""
    position: Position | None = None


class Views(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a replica on `names.VIEWS`: the symbols it leads.

    Sent each second while anybody is subscribed to the channel by its name.
    """

    replica: str
    ts_ms: int
    views: list[View]
