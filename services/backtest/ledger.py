"""What Redis, InfluxDB and the leases are live: a ledger that keeps what the desk tells it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from services.backtest.result import Refusal, SignalRow, Span
from services.core.points import Field
from services.core.records import Alert, Signal
from services.influx_signal_manager import Outcome, PointKey, score_tier
from services.signal_validator import Facts, Limits, Rejection, SignalValidator


class Clock:
    """The time of the second being processed, UTC ms."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


class SoleOwner:
    """No replica but this one."""

    def __init__(self, symbols: Collection[str]) -> None:
        self.kept = frozenset(symbols)

    def held(self, symbol: str) -> bool:
        return symbol in self.kept

    def fence(self, symbol: str) -> int:
        return 0


class Watch(SignalValidator):
    """The live validator; remembers which entries it refused, each set-up and reason once."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.refusals: dict[tuple[str, str], Refusal] = {}

    def check(self, signal: Signal, facts: Facts) -> Rejection | None:
        rejection = super().check(signal, facts)
        if rejection is not None and signal.event == "ENTRY":
            self.refusals.setdefault(
                (signal.setup_id, str(rejection.reason)),
                Refusal(
                    symbol=signal.symbol,
                    t=signal.ts_ms // 1000 - 1,
                    by="validator",
                    reason=str(rejection.reason),
                    setup_id=signal.setup_id,
                ),
            )
        return rejection


class Ledger:
    """Takes what the desk tells; `fresh`: announcements nobody has acted on yet."""

    def __init__(self) -> None:
        self.fresh: list[Signal] = []
        self.signals: list[SignalRow] = []
        self.spans: dict[str, list[Span]] = {}
        self.alerts: list[Alert] = []
        self._rows: dict[tuple[str, str, int], SignalRow] = {}
        self._entered: dict[str, tuple[int, str, str, int]] = {}

    # Outgoing

    def announce(self, signal: Signal) -> None:
        self.fresh.append(signal)

    def show(self, signal: Signal) -> None:
        pass

    def withdraw(self, symbol: str) -> None:
        pass

    def put(self, key: str, value: bytes | None, ttl_s: int = 0, *, symbol: str = "") -> None:
        pass

    def member(self, key: str, value: str, ttl_s: int, *, symbol: str = "") -> None:
        pass

    def count(self, name: str, by: int = 1) -> None:
        pass

    def status(self, symbol: str, state: str, message: dict[str, object]) -> None:
        self.moved(
            symbol,
            int(str(message["t"])),
            state,
            str(message["reason"]),
            int(str(message["direction"])),
        )

    def alert(self, alert: Alert) -> None:
        self.alerts.append(alert)

    # SignalRecord

    def record(self, signal: Signal, decision: Mapping[str, Any]) -> None:
        row = _row(signal)
        self.signals.append(row)
        self._rows[signal.symbol, signal.action, signal.ts_ms] = row

    def filled(self, key: PointKey, trade_id: int, price: float, ts_ms: int) -> None:
        self._row(key).trade_id = trade_id

    def finish(self, key: PointKey, outcome: Outcome, **fields: Field | None) -> None:
        row = self._row(key)
        row.outcome = outcome
        if (reason := fields.get("exit_reason")) is not None:
            row.outcome_reason = str(reason)
        pnl = fields.get("pnl")
        if isinstance(pnl, float):
            row.pnl = pnl

    # States

    def moved(self, symbol: str, t: int, state: str, reason: str, direction: int) -> None:
        """From second `t` on the symbol is in `state`."""
        self._end_span(symbol, t)
        self._entered[symbol] = (t, state, reason, direction)

    def end(self, symbol: str, t: int) -> None:
        """The symbol has no second after `t`."""
        self._end_span(symbol, t + 1)

    def _end_span(self, symbol: str, t: int) -> None:
        entered = self._entered.pop(symbol, None)
        if entered is None or entered[0] >= t:
            return
        from_s, state, reason, direction = entered
        self.spans.setdefault(symbol, []).append(
            Span(
                symbol=symbol,
                state=state,
                direction=direction,
                reason=reason,
                from_s=from_s,
                to_s=t,
            )
        )

    def _row(self, key: PointKey) -> SignalRow:
        return self._rows[key.tags["symbol"], key.tags["action"], key.ts_ms]


def _row(signal: Signal) -> SignalRow:
    return SignalRow(
        signal_id=signal.signal_id,
        setup_id=signal.setup_id,
        symbol=signal.symbol,
        ts_ms=signal.ts_ms,
        action=signal.action,
        score=signal.score,
        tier=score_tier(signal.score),
        breakdown=dict(signal.score_breakdown),
        confidence=signal.confidence,
        size_factor=signal.position_size_factor,
        leverage=signal.leverage,
        entry_price=signal.entry_price,
        invalidation_price=signal.invalidation_price,
        stop_price=signal.stop_price,
        reset_type=signal.reset_type if signal.action != "CLOSE" else "",
        env=str(signal.context.get("env", "")),
        oi_state=str(signal.oi.get("state", "")),
        oi_z=signal.oi.get("z"),
        coverage=signal.coverage,
        spot_cvd=float(signal.cvd["spot"]),
        perp_cvd=float(signal.cvd["perp"]),
        reasoning=signal.reasoning,
        parent_signal_id=signal.parent_signal_id,
        exit_reason=signal.exit_reason,
        trade_id=signal.trade_id,
    )
