from __future__ import annotations

import pytest

from services.simulator import venues
from services.simulator.connections import Hub
from services.simulator.fault_check import check
from services.simulator.fault_plan import (
    ClockOffset,
    Drop,
    Fault,
    FaultPlan,
    Leave,
    Mute,
    Refusal,
    Reset,
)
from services.simulator.market import Market
from services.simulator.venues import Venue


@pytest.fixture
def demo(market: Market) -> tuple[Venue, ...]:
    return venues.create(market, Hub())


def test_what_can_be_followed_is_accepted(demo: tuple[Venue, ...]) -> None:
    faults = (Mute(markets=("OKEX:BTC-USDT",)), Drop(venues=("BINANCE",)), Leave(), Reset())
    check(FaultPlan(faults), demo)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Mute(markets=("NOPE:x",)), "unknown market NOPE:x; /control/status lists them"),
        (ClockOffset(venues=("NOPE",), offset_ms=1), "unknown venue NOPE; simulated are BINANCE"),
        (Mute(from_ms=5, until_ms=5), "until_ms must lie after from_ms"),
        (Drop(venues=("BYBIT",)), "frames of BYBIT cannot be dropped"),
        (Drop(), "cannot be dropped"),
        (Drop(venues=("BINANCE",), kinds=("liquidations",)), "only trades can be dropped"),
        (Reset(drop_ms=1, every_s=1), "drop_ms goes with a single end"),
        (Leave(venues=("COINBASE",)), "COINBASE announces nothing"),
    ],
)
def test_the_reason_says_what_to_do(demo: tuple[Venue, ...], fault: Fault, reason: str) -> None:
    with pytest.raises(Refusal, match=reason):
        check(FaultPlan((fault,)), demo)
