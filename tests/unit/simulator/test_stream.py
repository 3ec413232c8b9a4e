from __future__ import annotations

from collections.abc import Sequence

import pytest

from services.simulator import venues
from services.simulator.connections import Hub
from services.simulator.fault_plan import ClockOffset, FaultPlan, Mute
from services.simulator.faults import Faults
from services.simulator.instruments import Trade
from services.simulator.market import Market
from services.simulator.stream import Stream
from services.simulator.venues.base import Venue

from .conftest import LIVE_FROM, Clock

AHEAD, BEHIND = "BINANCE", "BYBIT"


@pytest.fixture
def faults(market: Market, clock: Clock) -> Faults:
    return Faults({name: i.exchange for name, i in market.instruments.items()}, clock)


@pytest.fixture
def sent(market: Market, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> list[Trade]:
    """What the venues were given to publish."""
    found: list[Trade] = []

    def publish(_: Venue, trades: Sequence[Trade]) -> None:
        found.extend(trades)

    for venue in venues.known().values():
        monkeypatch.setattr(venue, "publish", publish)
    return found


def stream(market: Market, faults: Faults) -> Stream:
    hub = Hub()
    return Stream(market, venues.create(market, hub, faults), hub, faults)


def pass_until(stream: Stream, clock: Clock, now_ms: int) -> None:
    clock.now_ms = now_ms
    stream._send_due()


def test_no_trade_leaves_before_it_happens(
    market: Market, clock: Clock, faults: Faults, sent: list[Trade]
) -> None:
    subject = stream(market, faults)
    made = market.make(LIVE_FROM)
    subject._plan(made)
    pass_until(subject, clock, LIVE_FROM * 1000 + 400)
    assert sorted(sent, key=lambda t: t.ts_ms) == [
        t for t in made if t.ts_ms <= LIVE_FROM * 1000 + 400
    ]
    pass_until(subject, clock, LIVE_FROM * 1000 + 1000)
    assert len(sent) == len(made)


def test_a_fast_clock_sends_early_and_a_slow_one_late(
    market: Market, clock: Clock, faults: Faults, sent: list[Trade]
) -> None:
    faults.put(
        FaultPlan(
            (
                ClockOffset(venues=(AHEAD,), offset_ms=600),
                ClockOffset(venues=(BEHIND,), offset_ms=-600),
            )
        )
    )
    subject = stream(market, faults)
    made = market.make(LIVE_FROM)
    subject._plan(made)
    pass_until(subject, clock, LIVE_FROM * 1000 + 500)
    shift = {AHEAD: 600, BEHIND: -600}
    assert {(t.instrument.market, t.id) for t in sent} == {
        (t.instrument.market, t.id)
        for t in made
        if t.ts_ms - shift.get(t.instrument.exchange, 0) <= LIVE_FROM * 1000 + 500
    }


def test_a_clock_that_is_put_right_lets_no_trade_overtake(
    market: Market, clock: Clock, faults: Faults, sent: list[Trade]
) -> None:
    end_ms = (LIVE_FROM + 1) * 1000
    slow = ClockOffset(venues=(BEHIND,), offset_ms=-3000, until_ms=end_ms)
    faults.put(FaultPlan((slow,)))
    subject = stream(market, faults)
    for second in range(LIVE_FROM, LIVE_FROM + 6):
        clock.now_ms = second * 1000
        subject._plan(market.make(second))
        subject._send_due()
    pass_until(subject, clock, (LIVE_FROM + 10) * 1000)
    for instrument in market.instruments.values():
        ids = [t.id for t in sent if t.instrument == instrument]
        assert ids == sorted(ids)


def test_what_was_sent_is_known_after_being_killed(
    market: Market, clock: Clock, faults: Faults, sent: list[Trade]
) -> None:
    subject = stream(market, faults)
    subject._plan(market.make(LIVE_FROM))
    assert subject._sent_until(LIVE_FROM + 1) == LIVE_FROM
    pass_until(subject, clock, (LIVE_FROM + 1) * 1000)
    assert subject._sent_until(LIVE_FROM + 1) == LIVE_FROM + 1


def test_trades_go_out_disturbed_and_the_hub_is_left_clean(
    market: Market, clock: Clock, faults: Faults, sent: list[Trade]
) -> None:
    faults.put(FaultPlan((Mute(),)))
    subject = stream(market, faults)
    subject._plan(market.make(LIVE_FROM))
    pass_until(subject, clock, (LIVE_FROM + 1) * 1000)
    assert subject.sent == len(sent)
    assert subject._hub.sender is None
