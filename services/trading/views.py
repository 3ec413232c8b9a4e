"""What the strategy sees of the symbols led here, as it is told to people."""

from __future__ import annotations

from math import exp

from services.core.views import Position, Setup, View, Wait, Window
from services.strategy import progress_setup
from services.strategy.condition import Condition, clock
from services.strategy.progress import Leg, Progress
from services.strategy.types import State
from services.trading.permits import Permits
from services.trading.symbol import SymbolTrader
from services.trading.warmup import absent, shortage

BEFORE_ENTRY = (State.WARMUP, State.WATCHING, State.DIVERGENCE, State.RESET, State.COOLDOWN)


def view_of(trader: SymbolTrader, permits: Permits, now_ms: int) -> View:
    """The symbol now. One that is still being loaded is in WARMUP, whatever is replayed."""
    if not trader.live:
        return _loading(trader, now_ms)
    execution = trader.aggregator.reference.execution_price(1.0)
    seen = trader.engine.progress(execution)
    waits = [_wait(condition) for condition in seen.conditions]
    _annotate(waits, trader, seen, now_ms)
    if seen.state in BEFORE_ENTRY:
        waits += permits.of(trader, seen.direction or seen.toward)
    warming = shortage(trader) if seen.state is State.WARMUP else None
    score, engine = seen.score, trader.engine
    return View(
        symbol=trader.names.symbol,
        base=trader.names.base,
        t=_second(trader, now_ms),
        state=str(seen.state),
        direction=seen.direction,
        since_t=seen.since_t,
        toward=seen.toward,
        next_state=str(seen.next_state),
        price=trader.price or None,
        c_spot=engine.c_spot,
        c_perp=engine.c_perp,
        coverage=trader.last.coverage if trader.last else None,
        degraded=seen.degraded,
        environment=seen.environment,
        k=seen.k,
        warm_at_t=None if warming is None else warming.warm_at,
        cooldown_until_t=seen.cooldown_until,
        windows=[_window(leg) for leg in seen.windows],
        setup=_setup(seen, execution),
        score=None if score is None else score.total,
        score_needed=trader.params.min_score,
        gap_needed=trader.params.div_gap_z,
        parts={} if score is None else score.breakdown(),
        parts_max=progress_setup.parts_max(trader.params),
        waits=waits,
        signal_id=engine.signal_id or "",
        position=_position(seen, execution),
    )


def _second(trader: SymbolTrader, now_ms: int) -> int:
    # Without a second of its own, what is told is of now.
    return trader.engine.t or trader.newest or now_ms // 1000 - 1


def _loading(trader: SymbolTrader, now_ms: int) -> View:
    if not trader.aggregator.markets:
        text = "no market known yet"
    elif trader.engine.t is None:
        text = "history is being loaded"
    else:
        text = f"history is being loaded, at {clock(trader.engine.t)}"
    return View(
        symbol=trader.names.symbol,
        base=trader.names.base,
        t=trader.newest or now_ms // 1000 - 1,
        state=str(State.WARMUP),
        next_state=str(State.WATCHING),
        score_needed=trader.params.min_score,
        gap_needed=trader.params.div_gap_z,
        parts_max=progress_setup.parts_max(trader.params),
        waits=[Wait(code="loading", text=text, met=False)],
    )


def _wait(condition: Condition) -> Wait:
    code, text, met, have, need, bound, unit, kind, way = condition
    return Wait(
        code=code, text=text, met=met, have=have, need=need, bound=bound, unit=unit, kind=kind,
        way=way,
    )  # fmt: skip


def _annotate(waits: list[Wait], trader: SymbolTrader, seen: Progress, now_ms: int) -> None:
    """Add what the strategy does not know of its own conditions."""
    holding = trader.holding
    for i, wait in enumerate(waits):
        if wait.code == "attempt" and trader.refusal:
            waits[i] = _said(wait, f"{wait.text} ({trader.refusal})")
        elif wait.code == "closed" and holding is not None and holding.close_since_ms is not None:
            since_s = (now_ms - holding.close_since_ms) // 1000
            waits[i] = _said(wait, f"{wait.text}, asked for {since_s} s ago", float(since_s))
    if seen.state is State.WARMUP:
        for kind, text in absent(trader).items():
            waits.append(Wait(code=f"market_{kind}", text=text, met=False))


def _said(wait: Wait, text: str, have: float | None = None) -> Wait:
    unit = wait.unit if have is None else "s"
    return Wait(
        code=wait.code, text=text, met=wait.met, have=wait.have if have is None else have,
        need=wait.need, bound=wait.bound, unit=unit, kind=wait.kind, way=wait.way,
    )  # fmt: skip


def _window(leg: Leg) -> Window:
    found = leg.found
    z_spot, z_perp, z_price, gap = (None,) * 4 if found is None else found[:4]
    return Window(
        minutes=leg.minutes,
        z_spot=z_spot,
        z_perp=z_perp,
        z_price=z_price,
        gap=gap,
        holds=found is not None and found.holds,
        scale_spot=leg.scale_spot or None,
        scale_perp=leg.scale_perp or None,
        scale_price=leg.scale_price or None,
        scale_gap=leg.scale_gap or None,
    )


def _setup(seen: Progress, execution: float) -> Setup | None:
    setup = seen.setup
    if setup is None:
        return None
    return Setup(
        setup_id=setup.setup_id,
        direction=setup.direction,
        anchor_t=setup.anchor_t,
        detected_t=setup.detected_t,
        window_min=setup.window_min,
        peak_t=setup.peak_t,
        gap=setup.gap,
        gap_peak=setup.peak,
        closed=setup.closed,
        reset_type=setup.reset_type if seen.state is not State.DIVERGENCE else "",
        reset_t=setup.reset_t if seen.state is not State.DIVERGENCE else None,
        extreme_price=exp(setup.direction * setup.extreme) * execution,
        tests=setup.tests,
        signals=setup.signals,
        oi_state=setup.oi[0],
        oi_z=setup.oi[1],
    )


def _position(seen: Progress, execution: float) -> Position | None:
    position, lost = seen.position, seen.giveback
    if position is None:
        return None
    return Position(
        trade_id=position.trade_id,
        signal_id=position.signal_id,
        direction=position.direction,
        entry_t=position.entry_t,
        entry_price=position.entry_price * execution,
        invalidation_price=exp(position.direction * position.level) * execution,
        reversal=None if lost is None else lost.share,
        reversal_needed=None if lost is None else lost.needed,
        score=position.score,
        exit_reason=position.exit_reason,
    )
