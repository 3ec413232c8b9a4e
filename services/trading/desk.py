"""Answers the strategy's events: publishes, withdraws and records signals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from logging import getLogger

import msgspec

from aggr_server.log import kv
from services.core import names
from services.core.records import Alert, Signal
from services.influx_signal_manager import Outcome, point_key
from services.market.bars import ClosedBars
from services.signal_validator import Facts, Reason, Rejection, SignalValidator
from services.strategy.types import (
    Cancelled,
    Entry,
    Event,
    Exit,
    Expired,
    State,
    Transition,
)
from services.trading import baselines, signals
from services.trading.portfolio import Portfolio
from services.trading.ports import Outgoing, Ownership, SignalRecord
from services.trading.symbol import SymbolTrader

SNAPSHOT_S = 10
BASELINE_S = 60
CLOSE_ALARM_MS = 60_000

_log = getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast things go. `ttl_s`: life of a signal's key; `max_age_s`: oldest entry published.

    `behind_s`: how far symbols that are only followed are behind, so that the newest state of
    their leader is still ahead of them. `keeps_state`: whether anybody may have to go on from it.
    """

    ttl_s: int
    max_age_s: int
    behind_s: int = 30
    keeps_state: bool = True


class Desk:
    """Steps all symbols through a second and acts on what their engines say.

    Synchronous: what is to be written goes to the outbox and the record, neither of which waits.
    """

    def __init__(
        self,
        traders: Iterable[SymbolTrader],
        *,
        validator: SignalValidator,
        portfolio: Portfolio,
        outbox: Outgoing,
        record: SignalRecord,
        leases: Ownership,
        pace: Pace,
        now_ms: Callable[[], int],
    ) -> None:
        self.traders = {trader.names.symbol: trader for trader in traders}
        self.portfolio = portfolio
        self.outbox = outbox
        self.record = record
        self.now_ms = now_ms
        self.validator = validator
        self._leases = leases
        self._pace = pace
        # Not all in the same second, which would take long.
        self._saved_at = {symbol: i % SNAPSHOT_S for i, symbol in enumerate(self.traders)}
        self._reported: set[tuple[str, Reason]] = set()
        self._alarmed: dict[str, int] = {}

    def second(self, closed: ClosedBars) -> None:
        """Process a closed second in all symbols led here. The others put it aside."""
        stepped = []
        for trader in self.traders.values():
            if trader.live:
                stepped.append(trader)
                continue
            trader.put_aside(closed)
            if trader.standby:
                trader.follow(closed.t - self._pace.behind_s)
        self._step(stepped, closed)

    def step_one(self, trader: SymbolTrader, closed: ClosedBars) -> None:
        """Process a second that the other symbols have behind them."""
        self._step([trader], closed)

    def step_some(self, traders: Sequence[SymbolTrader], closed: ClosedBars) -> None:
        """Process a second in these symbols together; the others have nothing to do in it."""
        self._step(traders, closed)

    def settle(self, trader: SymbolTrader, events: Iterable[Event]) -> None:
        """Act on events that an answer to the engine has caused."""
        for event in events:
            self._act(trader, event)

    def finish(
        self, trader: SymbolTrader, outcome: Outcome, **fields: str | float | int | None
    ) -> None:
        """Write the outcome of the trader's entry."""
        if trader.holding and trader.holding.key:
            self.record.finish(trader.holding.key, outcome, **fields)

    @property
    def slots(self) -> set[str]:
        """Symbols decided for here that take a slot of the portfolio."""
        return {s for s, trader in self.traders.items() if trader.live and trader.takes_slot}

    def reserved(self, symbols: frozenset[str]) -> None:
        """Learn of the slots taken by all replicas."""
        led = {s for s, trader in self.traders.items() if trader.live}
        self.portfolio.reserved = symbols - led

    def not_published(self, signal: Signal, reason: str) -> None:
        """The outbox found that the signal may not go out: it is as if it had been refused."""
        trader = self.traders[signal.symbol]
        self.outbox.count(f"signals_rejected:{Reason.RISK_LIMIT}")
        if trader.signal is not None and trader.signal.signal_id == signal.signal_id:
            self.drop_signal(trader, reason, trader.engine.t or 0)
            self.save(trader)

    def drop_signal(self, trader: SymbolTrader, reason: str, t: int) -> None:
        """The signal that waits came to nothing in second `t`; its set-up goes on."""
        self.outbox.withdraw(trader.names.symbol)
        self.finish(trader, "cancelled", exit_reason=reason)
        if trader.signal is not None:
            self.validator.released(trader.signal)
        trader.signal, trader.refusal = None, reason
        _log.warning("signal dropped %s", kv(symbol=trader.names.symbol, reason=reason))
        self.settle(trader, trader.engine.withdrawn(t, reason))

    def save(self, trader: SymbolTrader) -> None:
        """Have the symbol's state written to Redis."""
        saved = trader.saved() if self._pace.keeps_state else None
        trader.unsaved = False
        if saved is None:
            return
        symbol = trader.names.symbol
        saved.memory = self.validator.memory(symbol)
        self.outbox.put(names.state(symbol), msgspec.json.encode(saved), symbol=symbol)
        engine = trader.engine
        epoch = {
            "epoch_id": engine.epoch,
            "t": saved.t,
            "C_S": engine.c_spot,
            "C_P": engine.c_perp,
        }
        key = names.cvd_epoch(trader.names.base)
        self.outbox.put(key, msgspec.json.encode(epoch), symbol=symbol)

    def alert(self, level: str, code: str, text: str, symbol: str = "", every_s: int = 300) -> None:
        """Tell the operator, the same thing about the same symbol not more often than `every_s`."""
        now_ms = self.now_ms()
        if now_ms - self._alarmed.get(code + symbol, -(1 << 60)) < every_s * 1000:
            return
        self._alarmed[code + symbol] = now_ms
        if level == "critical":
            self.outbox.count("errors")
        self.outbox.alert(
            msgspec.convert(
                {"level": level, "code": code, "text": text, "ts_ms": now_ms, "symbol": symbol},
                Alert,
            )
        )

    def _step(self, traders: Sequence[SymbolTrader], closed: ClosedBars) -> None:
        entries: list[tuple[SymbolTrader, Entry]] = []
        for trader in traders:
            for event in trader.step(closed):
                if isinstance(event, Entry):
                    entries.append((trader, event))
                else:
                    self._act(trader, event)
        entries.sort(key=lambda pair: (-pair[1].score, -pair[1].confidence, pair[0].names.symbol))
        for trader, entry in entries:
            self._decide(trader, entry)
        for trader in traders:
            self._watch(trader, closed.t)
            if trader.unsaved or closed.t % SNAPSHOT_S == self._saved_at[trader.names.symbol]:
                self.save(trader)

    def _act(self, trader: SymbolTrader, event: Event) -> None:
        match event:
            case Transition():
                self._transition(trader, event)
            case Exit():
                self._exit(trader, event)
            case Cancelled():
                self._end_signal(trader, "cancelled", event.reason)
            case Expired():
                self.outbox.count("signals_expired")
                self._end_signal(trader, "expired", "not filled in time")
            case Entry():
                self._decide(trader, event)

    def _decide(self, trader: SymbolTrader, entry: Entry) -> None:
        now_ms = self.now_ms()
        age_s = now_ms / 1000 - (entry.t + 1)
        if age_s > self._pace.max_age_s:
            _log.info(
                "entry lies in the past %s",
                kv(symbol=trader.names.symbol, setup=entry.setup_id, age_s=round(age_s, 1)),
            )
            self.settle(trader, trader.engine.expire())
            return
        signal = signals.entry_signal(
            trader.names, entry, trader.aggregator.reference, self._context(trader)
        )
        rejection = self.validator.check(signal, self._facts(trader, entry))
        if rejection is not None:
            self._reject(trader, signal, rejection)
            self.settle(trader, trader.engine.refuse(str(rejection.reason)))
            return
        self.validator.accepted(signal, now_ms)
        trader.signal, trader.holding = signal, signals.holding_of(entry, signal, trader.params)
        self.outbox.announce(signal)
        self.outbox.show(signal)
        baselines.write_pending(self.outbox, trader, signal.signal_id)
        count = trader.filled_minutes
        self.record.record(
            signal, {**entry.record, "backfilled_minutes": count} if count else entry.record
        )
        _log.info(
            "signal %s",
            kv(
                symbol=signal.symbol,
                action=signal.action,
                signal_id=signal.signal_id,
                score=signal.score,
                price=signal.entry_price,
                lag_ms=now_ms - (entry.t + 1) * 1000,
            ),
        )
        self.settle(trader, trader.engine.accept(signal.signal_id))

    def _reject(self, trader: SymbolTrader, signal: Signal, rejection: Rejection) -> None:
        self.outbox.count(f"signals_rejected:{rejection.reason}")
        trader.refusal = f"{rejection.reason}, {rejection.detail}"
        once = (signal.setup_id, rejection.reason)
        if once in self._reported:
            return
        if len(self._reported) > 1000:
            self._reported.clear()
        self._reported.add(once)
        _log.warning(
            "signal refused %s",
            kv(
                symbol=trader.names.symbol,
                setup=signal.setup_id,
                reason=rejection.reason,
                detail=rejection.detail,
            ),
        )

    def _exit(self, trader: SymbolTrader, exit_: Exit) -> None:
        holding = trader.holding
        if holding is None:
            self.alert("critical", "exit_without_trade", exit_.reason, trader.names.symbol)
            return
        signal = signals.close_signal(
            trader.names,
            exit_,
            holding,
            trader.aggregator.reference,
            (trader.engine.c_spot, trader.engine.c_perp),
            self._context(trader),
        )
        # A close is never held back; a rule that fails is a fault to be reported.
        if rejection := self.validator.check(signal, self._facts(trader, None)):
            self.alert("critical", "close_malformed", rejection.detail, trader.names.symbol)
        self.validator.accepted(signal, self.now_ms())
        trader.signal = signal
        holding.exit_reason = exit_.reason
        holding.close_key = point_key(signal)
        holding.close_since_ms = self.now_ms()
        self.outbox.announce(signal)
        self.outbox.show(signal)
        self.record.record(signal, exit_.record)
        _log.info(
            "exit %s",
            kv(symbol=signal.symbol, reason=exit_.reason, parent=holding.signal_id),
        )

    def _end_signal(self, trader: SymbolTrader, outcome: Outcome, reason: str) -> None:
        signal = trader.signal
        self.outbox.withdraw(trader.names.symbol)
        self.finish(trader, outcome)
        if signal is not None and signal.action != "CLOSE":
            self.outbox.announce(signals.cancel_signal(signal, reason, self.now_ms()))
            if outcome == "cancelled":
                self.validator.released(signal)
        trader.signal = None
        _log.info("signal ended %s", kv(symbol=trader.names.symbol, outcome=outcome, reason=reason))

    def _transition(self, trader: SymbolTrader, event: Transition) -> None:
        trader.unsaved = True
        if not trader.live:
            return
        message: dict[str, object] = {
            "symbol": trader.names.symbol,
            "t": event.t,
            "previous": str(event.previous),
            "state": str(event.state),
            "reason": event.reason,
            "direction": event.direction,
        }
        self.outbox.status(trader.names.symbol, str(event.state), message)
        _log.info("state %s", kv(**message))

    def _watch(self, trader: SymbolTrader, t: int) -> None:
        holding, symbol = trader.holding, trader.names.symbol
        if holding is None or not trader.has_position:
            return
        if t % BASELINE_S == 0:
            baselines.renew(self.outbox, trader)
        if trader.last is not None and trader.engine.degraded:
            self.alert(
                "critical", "data_degraded", f"position open, coverage {trader.last.coverage:.2f}",
                symbol,
            )  # fmt: skip
        since_ms = holding.close_since_ms
        if since_ms is not None and self.now_ms() - since_ms > CLOSE_ALARM_MS:
            self.alert(
                "critical",
                "close_not_confirmed",
                f"CLOSE of trade {holding.trade_id} has waited for over 60 s, see freqtrade",
                symbol,
            )

    def _context(self, trader: SymbolTrader) -> signals.Context:
        return signals.Context(
            now_ms=self.now_ms(),
            ttl_s=self._pace.ttl_s,
            mode=self.portfolio.mode,
            fence=self._leases.fence(trader.names.symbol),
            published_ms=trader.published_ms,
            epoch=trader.engine.epoch,
            note=_note(trader),
            entry_window_s=trader.params.entry_window_s,
        )

    def _facts(self, trader: SymbolTrader, entry: Entry | None) -> Facts:
        symbol = trader.names.symbol
        t = entry.t if entry else trader.engine.t or 0
        taken = {s for s, other in self.traders.items() if other.takes_slot}
        taken |= self.portfolio.symbols
        executor = self.portfolio.blocked
        if not executor and not self._leases.held(symbol):
            executor = "the lease on the symbol is not certain"
        return Facts(
            now_ms=self.now_ms(),
            last_price=trader.price,
            price_age_s=trader.aggregator.reference.age(t),
            warm=trader.engine.state is not State.WARMUP,
            degraded=trader.engine.degraded if trader.last else True,
            coverage=trader.last.coverage if trader.last else 0.0,
            in_cooldown=trader.engine.state is State.COOLDOWN,
            positions=len(taken),
            symbol_taken=symbol in taken,
            daily_loss_reached=self.portfolio.daily_loss_reached,
            executor=executor,
        )


def _note(trader: SymbolTrader) -> str:
    count = trader.filled_minutes
    return f"scales rest on {count} backfilled minutes" if count else ""
