"""What keeps good signals from being entered on, and what the operator is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from services.core.halt import HaltMemory
from services.core.records import Halt
from squeezeflow.alarms import Alarms
from squeezeflow.daily import DAY_MS, DailyLoss
from squeezeflow.gatekeeper import Engine, Gatekeeper
from tests.unit.freqtrade.test_daily import Book
from tests.unit.freqtrade.test_rules import NOW_MS, entry

ETH = "ETH/USDT:USDT"


class Ledger(Book):
    """freqtrade's database."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, str | None] = {}
        self.locks: dict[tuple[str, str], list[str | None]] = {}
        self.executed: set[str] = set()

    def has_trade(self, signal_id: str) -> bool:
        return signal_id in self.executed

    def open_trades(self) -> list[Any]:
        return list(self.tags)

    def open_tags(self) -> dict[str, str | None]:
        return self.tags

    def lock_reasons(self, pair: str, side: str) -> list[str | None]:
        return [*self.locks.get((pair, side), []), *self.locks.get(("*", "*"), [])]


class Venue:
    """Positions on the exchange."""

    def __init__(self) -> None:
        self.is_blind = False
        self.strangers: list[str] = []
        self.lacking: list[str] = []
        self.strays: list[str] = []
        self.bare: list[str] = []

    def unknown(self, open_trades: Sequence[Any]) -> list[str]:
        return self.strangers

    def missing(self, open_trades: Sequence[Any]) -> list[str]:
        return self.lacking

    def stray_stops(self, open_trades: Sequence[Any]) -> list[str]:
        return self.strays

    def unprotected(self, open_trades: Sequence[Any]) -> list[str]:
        return self.bare


class Stage:
    """A gatekeeper and all it asks."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self.ledger, self.alarms, self.venue = Ledger(), Alarms(), Venue()
        self.now_ms, self.balance = NOW_MS, 1000.0
        self.closing: set[str] = set()
        self.ends: list[datetime] = []
        self.gate = Gatekeeper(
            self.ledger,
            Engine(2, lambda: self.balance, lambda pair, tag: pair in self.closing, self._lock),
            halts=HaltMemory(),
            daily=DailyLoss(self.ledger, 0.06),
            alarms=self.alarms,
            venue=None if dry_run else self.venue,
            now_ms=lambda: self.now_ms,
        )

    def _lock(self, until: datetime, reason: str) -> None:
        self.ends.append(until)
        self.ledger.locks["*", "*"] = [reason]

    def codes(self) -> list[tuple[str, str]]:
        """Level and code of all alerts that wait."""
        return [(alert.level, alert.code) for alert in self.alarms.waiting()]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def switch(*, halted: bool, ts_ms: int = NOW_MS) -> bytes:
    """A record of the kill switch."""
    return msgspec.json.encode(Halt(halted=halted, ts_ms=ts_ms, by="me"))


def test_nothing_is_in_the_way(stage: Stage) -> None:
    stage.gate.look()
    assert stage.gate.reason(entry()) is None
    assert stage.gate.closed == ""
    assert stage.codes() == []


def test_simulated_money_has_no_positions_on_the_exchange_to_be_asked_for() -> None:
    stage = Stage(dry_run=True)
    stage.venue.strangers = stage.venue.bare = ["BTC/USDT:USDT"]
    stage.gate.look()
    assert stage.gate.reason(entry()) is None
    assert stage.codes() == []


def test_X9_kill_switch_halts_until_it_is_lifted(stage: Stage) -> None:
    assert stage.gate.learn(switch(halted=True))
    assert stage.gate.reason(entry()) == "halted"
    assert stage.gate.closed == "halted by me"
    assert not stage.gate.learn(None)
    assert stage.gate.reason(entry()) == "halted"
    assert stage.codes() == [("warning", "halt")]
    assert stage.gate.learn(switch(halted=False, ts_ms=NOW_MS + 1))
    assert stage.gate.reason(entry()) is None


def test_position_without_a_stop_halts_and_is_told(stage: Stage) -> None:
    stage.venue.bare = ["BTC/USDT:USDT"]
    stage.gate.look()
    assert stage.gate.reason(entry()) == "unprotected_position"
    assert stage.codes() == [("critical", "unprotected_position")]
    assert stage.gate.closed == "no stop on the exchange: BTC/USDT:USDT"
    stage.venue.bare = []
    stage.gate.look()
    assert stage.gate.reason(entry()) is None
    assert stage.gate.closed == ""


def test_trade_the_exchange_does_not_hold_halts_and_is_told(stage: Stage) -> None:
    stage.venue.lacking = ["long 0.3 BTC/USDT:USDT"]
    stage.gate.look()
    assert stage.gate.reason(entry()) == "missing_position"
    assert stage.codes() == [("critical", "missing_position")]
    assert stage.gate.closed == "not held on the exchange: long 0.3 BTC/USDT:USDT"
    stage.venue.lacking = []
    stage.gate.look()
    assert stage.gate.reason(entry()) is None


def test_stop_of_no_trade_halts_and_is_told(stage: Stage) -> None:
    stage.venue.strays = ["7 BTC/USDT:USDT"]
    stage.gate.look()
    assert stage.gate.reason(entry()) == "stray_stop"
    assert stage.codes() == [("critical", "stray_stop")]
    assert stage.gate.closed == "stops unknown to freqtrade: 7 BTC/USDT:USDT"
    stage.venue.strays = []
    stage.gate.look()
    assert stage.gate.reason(entry()) is None


def test_X8_unknown_position_halts_and_is_told(stage: Stage) -> None:
    stage.venue.strangers = ["long 0.5 BTC/USDT:USDT"]
    stage.gate.look()
    assert stage.gate.reason(entry()) == "unknown_position"
    assert stage.codes() == [("critical", "unknown_position")]
    assert "long 0.5 BTC" in stage.gate.closed
    stage.venue.strangers = []
    stage.gate.look()
    assert stage.gate.reason(entry()) is None


def test_entries_wait_while_the_exchange_does_not_tell_its_positions(stage: Stage) -> None:
    stage.venue.is_blind = True
    stage.gate.look()
    assert stage.gate.reason(entry()) == "positions_not_known"
    assert stage.gate.closed == "the exchange does not tell its positions"


def test_X10_daily_loss_locks_until_midnight_also_after_it_was_made_up_for(stage: Stage) -> None:
    stage.ledger.end(1, -60.0, NOW_MS)
    stage.balance = 940.0
    assert stage.gate.reason(entry()) == "daily_loss"
    (until,) = stage.ends
    assert until == datetime.fromtimestamp((NOW_MS // DAY_MS + 1) * DAY_MS / 1000 - 1, UTC)
    assert stage.codes() == [("warning", "daily_loss")]
    stage.ledger.end(1, 100.0, NOW_MS)
    assert stage.gate.reason(entry()) == "daily_loss"
    assert stage.gate.closed == "daily loss reached"
    assert len(stage.ends) == 1


def test_X10_daily_loss_is_noticed_without_a_signal(stage: Stage) -> None:
    stage.gate.look()
    stage.ledger.open = {1}
    stage.gate.mark(1, -61.0)
    stage.now_ms += 4_999
    stage.gate.look()
    assert stage.ends == []
    stage.now_ms += 1
    stage.gate.look()
    assert len(stage.ends) == 1


def test_X10_lock_of_pair_and_side_refuses_with_its_reason(stage: Stage) -> None:
    stage.ledger.locks["BTC/USDT:USDT", "long"] = ["Auto lock", "3 stoplosses"]
    assert stage.gate.reason(entry()) == "locked: 3 stoplosses"
    assert stage.gate.reason(entry(action="SHORT")) is None
    assert stage.gate.closed == ""


def test_full_slots_refuse_unless_one_is_being_freed(stage: Stage) -> None:
    stage.ledger.tags = {ETH: "sf:1", "SOL/USDT:USDT": "sf:2"}
    assert stage.gate.reason(entry()) == "slots"
    stage.closing = {ETH}
    assert stage.gate.reason(entry()) is None


def test_signal_executed_before_is_not_refused(stage: Stage) -> None:
    stage.ledger.executed = {"id-1"}
    stage.gate.learn(switch(halted=True))
    assert stage.gate.reason(entry()) is None
    assert stage.gate.reason(entry(signal_id="id-2")) == "halted"


def test_guard_can_be_added(stage: Stage) -> None:
    stage.gate.guards.append(lambda signal: "of my own" if signal.symbol == "BTCUSDT" else None)
    assert stage.gate.reason(entry()) == "of my own"
