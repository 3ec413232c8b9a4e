"""What the desk needs of the world: live it is Redis, InfluxDB and leases, offline a ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from services.core.points import Field
from services.core.records import Alert, Signal
from services.influx_signal_manager import Outcome, PointKey


class Outgoing(Protocol):
    """Takes what the strategy tells others; none of it waits."""

    def announce(self, signal: Signal) -> None:
        """Publish once, list in the history, and count."""

    def show(self, signal: Signal) -> None:
        """Keep the signal in the symbol's key from now on."""

    def withdraw(self, symbol: str) -> None:
        """Take the symbol's key away."""

    def put(self, key: str, value: bytes | None, ttl_s: int = ..., *, symbol: str = "") -> None:
        """Set a key, or delete it (None). Only the leader of `symbol` may write it."""

    def member(self, key: str, value: str, ttl_s: int, *, symbol: str = "") -> None:
        """Add to a set; remove if `ttl_s` is 0. Only the leader of `symbol` may write it."""

    def count(self, name: str, by: int = 1) -> None:
        """Increase a counter that lives for a day."""

    def status(self, symbol: str, state: str, message: dict[str, object]) -> None:
        """The symbol's state, and the transition that led to it."""

    def alert(self, alert: Alert) -> None:
        """Tell the operator."""


class SignalRecord(Protocol):
    """Keeps signals and their outcomes."""

    def record(self, signal: Signal, decision: Mapping[str, Any]) -> None:
        """A published signal, with every value of the five phases at its second."""

    def filled(self, key: PointKey, trade_id: int, price: float, ts_ms: int) -> None:
        """The signal led to a trade, at `price` in quote per base."""

    def finish(self, key: PointKey, outcome: Outcome, **fields: Field | None) -> None:
        """The signal's outcome."""


class Ownership(Protocol):
    """Which symbols this process decides for."""

    @property
    def kept(self) -> frozenset[str]:
        """Symbols this process has taken and nobody else is known to have."""

    def held(self, symbol: str) -> bool:
        """Whether this process alone decides for the symbol, right now."""

    def fence(self, symbol: str) -> int:
        """The token of the symbol's lease, 0 without one."""
