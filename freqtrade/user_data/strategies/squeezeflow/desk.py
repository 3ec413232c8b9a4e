"""The state the executor keeps between two turns of the loop: signals, refusals, claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from logging import getLogger

from aggr_server.log import kv
from services.core.records import Fill, Signal
from squeezeflow import fills, rules

MAX_REMEMBERED = 1_000
ORDER_GRACE_MS = 5_000

_log = getLogger(__name__)


class Desk:
    """Signals as last read, and what has become of them.

    `done` signals are out of the question: executed, refused or reported. The claim in Redis and
    freqtrade's database decide; this memory only saves asking again. `blocked` says why nothing
    may be entered on a signal, whatever the signal is like.
    """

    def __init__(
        self, dry_run: bool, blocked: Callable[[Signal], str | None] = lambda _: None
    ) -> None:
        self._dry_run = dry_run
        self._blocked = blocked
        self._fences = rules.Fences()
        self._signals: dict[str, Signal] = {}
        self._done: dict[str, None] = {}
        self._claimed: dict[str, tuple[Signal, int]] = {}
        self._refusals: dict[str, Fill] = {}
        self._bad: dict[str, bytes] = {}

    def take(
        self,
        markets: Mapping[str, str],
        values: Sequence[bytes | None],
        trades: Mapping[str, str | None],
        now_ms: int,
        *,
        entries: bool = True,
    ) -> None:
        """Replace all signals by what stands in Redis.

        `markets`: pair -> symbol, `values`: their keys' values in the same order, `trades`: pair ->
        entry tag of the open trades. Without `entries`, those are left for another executor to
        judge.
        """
        self._signals = {}
        for pair, raw in zip(markets, values, strict=True):
            if (signal := self._decoded(pair, raw)) is not None:
                self._signals[pair] = signal
        if not entries:
            self.keep_exits_only()
        for pair, signal in self._signals.items():
            if signal.action == "CLOSE" or signal.signal_id in self._done:
                continue
            if reason := self._refusal(signal, pair, markets[pair], trades, now_ms):
                self.refuse(signal, reason, now_ms)

    def keep_exits_only(self) -> None:
        """Nothing may be entered on: what is known of exits holds, entries do not."""
        self._signals = {p: s for p, s in self._signals.items() if s.action == "CLOSE"}

    def entry(self, pair: str, now_ms: int) -> Signal | None:
        """The signal to enter `pair` on now."""
        signal = self._signals.get(pair)
        if signal is None or not self.may_enter(signal, now_ms):
            return None
        return signal

    def entry_of(self, pair: str, tag: str | None) -> Signal | None:
        """The entry signal of `pair` if it belongs to `tag`, and to no other."""
        signal = self._signals.get(pair)
        if signal is None or signal.action == "CLOSE":
            return None
        return signal if rules.signal_id_of(tag) == signal.signal_id else None

    def exit(self, pair: str, tag: str | None) -> Signal | None:
        """The signal that asks for the end of the trade entered under `tag`."""
        signal = self._signals.get(pair)
        if signal is None or not rules.closes(signal, rules.signal_id_of(tag)):
            return None
        return signal

    def may_enter(self, signal: Signal, now_ms: int) -> bool:
        """Whether a signal is an entry, fresh and not dealt with."""
        return (
            signal.event == "ENTRY"
            and signal.action != "CLOSE"
            and signal.signal_id not in self._done
            and rules.is_fresh(signal, now_ms)
        )

    def gate(
        self, signal: Signal, *, symbol: str, pair: str, side: str, rate: float, now_ms: int
    ) -> str | None:
        """Why a fresh entry must not be ordered at `rate`; None if it may."""
        if reason := rules.defect(signal, symbol=symbol, pair=pair, dry_run=self._dry_run):
            return reason
        if rules.side_of(signal) != side:
            return "wrong_side"
        if not self._fences.admits(signal, now_ms):
            return "deposed_writer"
        if rules.deviates(signal, rate):
            return "price_deviation"
        return self._blocked(signal)

    def refuse(self, signal: Signal, reason: str, now_ms: int) -> None:
        """Never execute a signal, and have that reported."""
        if signal.signal_id in self._done:
            return
        self.finish(signal.signal_id)
        if len(self._refusals) >= MAX_REMEMBERED:
            self._refusals.pop(next(iter(self._refusals)))
        self._refusals[signal.signal_id] = fills.rejected(signal, reason, now_ms)
        _log.warning(
            "signal refused %s",
            kv(id=signal.signal_id, pair=signal.pair, action=signal.action, reason=reason),
        )

    def finish(self, signal_id: str) -> None:
        """A signal is dealt with."""
        self._done[signal_id] = None
        if len(self._done) > MAX_REMEMBERED:
            self._done.pop(next(iter(self._done)))

    def claimed(self, signal: Signal, now_ms: int) -> None:
        """A signal is ours and about to be ordered."""
        self.finish(signal.signal_id)
        self._claimed[signal.signal_id] = (signal, now_ms)

    def claim_of(self, signal_id: str) -> Signal | None:
        """The signal behind a claim that is not settled yet."""
        found = self._claimed.get(signal_id)
        return found[0] if found else None

    def unsettled(self, now_ms: int) -> list[Signal]:
        """Claimed signals whose order should have become a trade by now."""
        return [s for s, at in self._claimed.values() if now_ms - at >= ORDER_GRACE_MS]

    def settle(self, signal_id: str) -> None:
        """The claim has become a filled trade, or was reported as failed."""
        self._claimed.pop(signal_id, None)

    def refusals(self) -> list[Fill]:
        """Refusals still to be reported, oldest first."""
        return list(self._refusals.values())

    def reported(self, fill: Fill) -> None:
        """A refusal has been delivered."""
        self._refusals.pop(fill.signal_id, None)

    def _refusal(
        self,
        signal: Signal,
        pair: str,
        symbol: str,
        trades: Mapping[str, str | None],
        now_ms: int,
    ) -> str | None:
        if signal.event != "ENTRY":
            return None
        if reason := rules.defect(signal, symbol=symbol, pair=pair, dry_run=self._dry_run):
            return reason
        if not self._fences.admits(signal, now_ms):
            return "deposed_writer"
        if not rules.is_fresh(signal, now_ms):
            return None
        if pair not in trades:
            return self._blocked(signal)
        if rules.signal_id_of(trades[pair]) == signal.signal_id:
            self.finish(signal.signal_id)  # executed before this process started
            return None
        return "position_open"

    def _decoded(self, pair: str, raw: bytes | None) -> Signal | None:
        if raw is None:
            self._bad.pop(pair, None)
            return None
        try:
            signal = rules.decode(raw)
        except rules.BadSignal as error:
            if self._bad.get(pair) != raw:
                self._bad[pair] = raw
                _log.error("signal key cannot be read %s", kv(pair=pair, error=error))
            return None
        return signal
