"""What is told to hold an entry back is what the validator refuses it for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from services.market.bars import ClosedBars
from services.signal_validator import Reason
from services.strategy.types import Second, State
from services.trading.portfolio import Portfolio
from tests.unit.strategy.scenarios import LEAD_S
from tests.unit.trading.played import SYMBOL, Played, unmet


@cache
def decided_t() -> int:
    """The second of the entry of S3."""
    at = Played("S3")
    at.to(at.start + LEAD_S + 3_050)
    at.until(State.ENTRY_READY)
    return at.t


def before_entry() -> Played:
    at = Played("S3")
    at.to(decided_t() - 1)
    return at


def halt(at: Played) -> None:
    at.portfolio.halted = "entries halted by operator"


def silent_executor(at: Played) -> None:
    portfolio = Portfolio(integrated=True, now_ms=at.now_ms)
    at.portfolio = at.desk.portfolio = portfolio


def full(at: Played) -> None:
    at.portfolio.reserved = frozenset({"ETHUSDT", "SOLUSDT", "XRPUSDT"})


def open_trade(at: Played) -> None:
    at.portfolio.reserved = frozenset({SYMBOL})


def daily_loss(at: Played) -> None:
    at.portfolio.daily_loss_reached = True


def lost_lease(at: Played) -> None:
    at.leads = False
    at.leases.kept = frozenset()


def hasty(at: Played) -> None:
    at.validator.memory(SYMBOL).entries = [at.now_ms() - 2_000] * 20


def busy_hour(at: Played) -> None:
    at.validator.memory(SYMBOL).entries = [at.now_ms() - 1_800_000] * 10


def another_long(at: Played) -> None:
    at.validator.memory(SYMBOL).actions["LONG"] = at.now_ms() - 600_000


def same_set_up(at: Played) -> None:
    setup_id = at.trader.engine.setup_id
    assert setup_id is not None
    at.validator.memory(SYMBOL).setups[setup_id] = at.now_ms() - 3_600_000


def uncovered(at: Played) -> None:
    plain: Callable[[ClosedBars], Second | None] = at.trader.aggregate

    def aggregate(closed: ClosedBars) -> Second | None:
        second = plain(closed)
        assert second is not None
        at.trader.last = second._replace(coverage=0.7)
        return at.trader.last

    at.trader.aggregate = aggregate  # type: ignore[method-assign]
    assert at.trader.last is not None
    at.trader.last = at.trader.last._replace(coverage=0.7)


def old_price(at: Played) -> None:
    at.trader.aggregator.reference.age = lambda t: 6  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("hinder", "codes", "reason"),
    [
        (halt, {"halt"}, Reason.RISK_LIMIT),
        (silent_executor, {"executor"}, Reason.RISK_LIMIT),
        (full, {"slots"}, Reason.RISK_LIMIT),
        (open_trade, {"taken"}, Reason.RISK_LIMIT),
        (daily_loss, {"daily_loss"}, Reason.RISK_LIMIT),
        (lost_lease, {"lease"}, Reason.RISK_LIMIT),
        (hasty, {"rate", "hourly"}, Reason.RATE_LIMITED),
        (busy_hour, {"hourly"}, Reason.RATE_LIMITED),
        (another_long, {"apart"}, Reason.DUPLICATE),
        (same_set_up, {"repeated"}, Reason.DUPLICATE),
        (uncovered, {"coverage"}, Reason.DATA_QUALITY),
        (old_price, {"price"}, Reason.PRICE),
    ],
)
def test_what_holds_an_entry_back_is_told_before_it_is_refused(
    hinder: Callable[[Played], None], codes: set[str], reason: Reason
) -> None:
    at = before_entry()
    hinder(at)
    assert unmet(at.view(), "entry").keys() == codes
    at.step()
    view = at.view()
    assert view.state == "RESET"
    assert unmet(view, "entry").keys() == codes
    (attempt,) = (wait for wait in view.waits if wait.code == "attempt")
    assert f"({reason}, " in attempt.text
    assert (attempt.have, attempt.need) == (0, 30)


def test_with_nothing_in_the_way_the_signal_goes_out() -> None:
    at = before_entry()
    assert unmet(at.view(), "entry") == {}
    at.step()
    assert at.state is State.ENTRY_READY


@pytest.mark.parametrize(
    ("state", "told"),
    [(State.RESET, True), (State.ENTRY_READY, False), (State.IN_POSITION, False)],
)
def test_entries_are_of_no_concern_once_there_is_one(state: State, told: bool) -> None:
    at = before_entry()
    if state is not State.RESET:
        at.step()
    if state is State.IN_POSITION:
        at.fill()
    assert at.state is state
    assert any(wait.kind == "entry" for wait in at.view().waits) == told


def test_a_signal_in_the_other_direction_is_in_nobodys_way() -> None:
    at = before_entry()
    at.validator.memory(SYMBOL).actions["SHORT"] = at.now_ms() - 1_000
    assert unmet(at.view(), "entry") == {}


def test_the_own_signal_takes_a_slot_of_the_others() -> None:
    at = before_entry()
    at.portfolio.reserved = frozenset({"ETHUSDT"})
    (slots,) = (wait for wait in at.view().waits if wait.code == "slots")
    assert (slots.have, slots.need, slots.met) == (1, 3, True)
