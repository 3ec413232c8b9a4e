"""The strategy of one base symbol: seconds in, events out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from services.strategy import quiet
from services.strategy.block import Block
from services.strategy.exits import Position
from services.strategy.history import History
from services.strategy.machine import Machine
from services.strategy.params import Params
from services.strategy.persistence import dump, load
from services.strategy.progress import Progress, look
from services.strategy.types import (
    Event,
    Loaded,
    Minute,
    OpenPosition,
    Second,
    State,
)
from services.strategy.view import describe


class SymbolEngine:
    """One symbol's decisions. Pure: no clock, no I/O, no randomness.

    Life: `preload_minutes` (history as one-minute bars), optionally `preload_seconds` (history as
    seconds, no decisions) and `restore`, then `step` for every second without gaps. The answers of
    the outside world (`accept`, `refuse`, `filled`, ...) come between two steps.

    `epoch` names the origin of the two CVD accumulators; `c_spot` and `c_perp` are their values
    before the first second. Only differences of them carry meaning.
    """

    def __init__(
        self,
        base: str,
        params: Params | None = None,
        *,
        epoch: str = "",
        c_spot: float = 0.0,
        c_perp: float = 0.0,
    ) -> None:
        self.base = base
        self.params = params or Params()
        self._epoch = epoch
        self._history = History(self.params, c_spot, c_perp)
        self._machine = Machine(base, self.params, self._history, self.view)

    # History

    def preload_minutes(self, minutes: Sequence[Minute]) -> None:
        """Load one-minute history, oldest first; only before the first second.

        1681 minutes fill the scale history, more are ignored. A minute without trades must be
        present with zero volume. The first second must follow the last minute directly.

        Raises `ValueError` for a gap, a second already loaded, or a price that is not positive.
        """
        self._history.add_minutes(minutes)

    def preload_seconds(self, seconds: Iterable[Second]) -> None:
        """Load seconds as history, without decisions: what precedes `restore`.

        Raises `ValueError` as `step` does.
        """
        for second in seconds:
            self._history.add(second, decide=False)

    # Deciding

    def step(self, second: Second) -> list[Event]:
        """Process one closed second.

        Raises `ValueError` if `second.t` is not the previous one plus 1 or a value is not finite,
        `RuntimeError` if the last `Entry` was answered neither by `accept`, `refuse` nor `expire`.
        """
        if self._machine.pending is not None:
            raise RuntimeError("an entry waits for accept, refuse or expire")
        minute_closed = self._history.add(second)
        return self._machine.advance(second, minute_closed=minute_closed)

    def skip(self, block: Block) -> int:
        """Process leading seconds of `block`, which must follow the last one, as far as they
        certainly lead to no event; their number. The same bits as with `step`, many times faster.

        0 in RESET, while a fill or a close is awaited and in a second that `step` would refuse.
        """
        return quiet.skip(self._history, self._machine, self.params, block)

    def skips(self, t: int) -> int | None:
        """Most seconds from `t` on that `skip` can take in the present state; None: no limit."""
        return quiet.reach(self._machine, t)

    # Answers to an Entry, before the next step

    def accept(self, signal_id: str) -> list[Event]:
        """The signal is published: wait for its fill (ENTRY_READY)."""
        return self._machine.accept(signal_id)

    def refuse(self, reason: str) -> list[Event]:
        """The signal may not be published: stay in RESET, next attempt after a pause."""
        return self._machine.refuse(reason)

    def expire(self) -> list[Event]:
        """The entry lies in the past (replay after a restart): COOLDOWN from this second on."""
        return self._machine.expire()

    # What the execution engine reports

    def filled(self, t: int, trade_id: int, price: float) -> list[Event]:
        """The entry was filled in second `t` at `price` (spliced): IN_POSITION.

        Also accepted after the signal was cancelled or has expired: the position is real. The
        baseline is taken at `t`; if that second is still to come, when it is processed.

        Raises `ValueError` if no signal was accepted before, another trade is open, or second `t`
        has left the window; `adopt` then.
        """
        return self._machine.filled(t, trade_id, price)

    def withdrawn(self, t: int, reason: str) -> list[Event]:
        """The order was refused or failed: back to RESET, or abort after the last signal.

        No effect in other states than ENTRY_READY.
        """
        return self._machine.withdrawn(t, reason)

    def position_closed(self, t: int, reason: str) -> list[Event]:
        """The position was closed in second `t`, by anyone: COOLDOWN. No effect without one."""
        return self._machine.position_closed(t, reason)

    def adopt(self, position: OpenPosition) -> list[Event]:
        """Take over an open position from any state: IN_POSITION. No effect if it is known.

        Raises `ValueError` if no second was processed yet or the direction is not +1 or -1.
        """
        return self._machine.adopt(position)

    # Persistence

    def snapshot(self) -> dict[str, Any]:
        """Everything but the history (seconds, minutes, candles), JSON-able."""
        return dump(self.base, self._epoch, self._history, self._machine)

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Continue from a snapshot; history must be loaded up to exactly its second `t`.

        The accumulators take over the snapshot's values and epoch.
        Raises `ValueError` if the history ends elsewhere or the snapshot is of another version.
        """
        self._epoch = load(snapshot, self.base, self._history, self._machine)

    def anchor(self, epoch: str, t: int, c_spot: float, c_perp: float) -> None:
        """Shift the accumulators so that they had these values at second `t`.

        Raises `ValueError` if second `t` is not in the window.
        """
        at = self._history.index(t)
        window = self._history.seconds
        self._machine.shift(c_spot - window.c_spot[at], c_perp - window.c_perp[at])
        self._epoch = epoch

    # Looking at it

    def view(self) -> dict[str, Any]:
        """Current values of all five phases, JSON-able with finite floats."""
        return describe(self._history, self._machine, self.params)

    def progress(self, execution: float = 1.0) -> Progress:
        """How far the next step is, for people; changes nothing.

        `execution`: price on the execution market over the reference price.
        """
        return look(self._history, self._machine, self.params, execution)

    @property
    def t(self) -> int | None:
        """Last processed second."""
        return self._history.t

    @property
    def loaded(self) -> Loaded:
        """What decisions can rest on, to be told while it is too little."""
        return self._history.loaded

    @property
    def state(self) -> State:
        return self._machine.state

    @property
    def direction(self) -> int:
        """+1 or -1 of the running setup or position, else 0."""
        return self._machine.direction

    @property
    def signal_id(self) -> str | None:
        """Id of the signal that waits or of the position's entry."""
        machine = self._machine
        if machine.position is not None:
            return machine.position.signal_id
        waiting = machine.signal if self.state is State.ENTRY_READY else None
        return None if waiting is None else waiting.signal_id

    @property
    def setup_id(self) -> str | None:
        """Id of the running setup."""
        setup = self._machine.setup
        return None if setup is None else setup.setup_id

    @property
    def position(self) -> Position | None:
        """The open position, to be looked at only."""
        return self._machine.position

    @property
    def degraded(self) -> bool:
        """The newest second cannot be judged: untrusted data, or a leg too thin for a scale."""
        return self._machine.degraded

    @property
    def trade_id(self) -> int | None:
        """Trade of the open position."""
        position = self._machine.position
        return None if position is None else position.trade_id

    @property
    def valid_until(self) -> int | None:
        """UTC second at which the waiting signal expires; None outside ENTRY_READY."""
        signal = self._machine.signal
        waiting = self.state is State.ENTRY_READY and signal is not None
        return signal.valid_until if waiting and signal is not None else None

    @property
    def cooldown_until(self) -> int | None:
        """UTC second at which COOLDOWN ends; None outside it."""
        return self._machine.cooldown_until if self.state is State.COOLDOWN else None

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def c_spot(self) -> float:
        """Spot CVD accumulator, quote USD."""
        return self._history.seconds.latest[0]

    @property
    def c_perp(self) -> float:
        """Perp CVD accumulator, quote USD."""
        return self._history.seconds.latest[1]

    def cvds(self, seconds: int) -> list[tuple[float, float]]:
        """`c_spot` and `c_perp` at the last `seconds` seconds, which must be loaded, in order."""
        window = self._history.seconds
        spot, perp = window.slice(window.c_spot, seconds), window.slice(window.c_perp, seconds)
        return list(zip(spot.tolist(), perp.tolist(), strict=True))
