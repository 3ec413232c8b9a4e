"""A market with a ledger in a temporary folder, trading since a moment of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.simulator.ledger import Ledger
from services.simulator.market import Market
from services.simulator.venues import INSTRUMENTS

LIVE_FROM = 1_795_354_867


class Clock:
    """Milliseconds that stand still until they are set."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock(LIVE_FROM * 1000)


@pytest.fixture
def open_market(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], Market]]:
    """Opens the same folder again and again, as a restarted process would."""
    ledgers: list[Ledger] = []

    def build() -> Market:
        ledgers.append(Ledger(tmp_path, INSTRUMENTS))
        return Market(1, INSTRUMENTS, ledgers[-1], clock)

    yield build
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def market(open_market: Callable[[], Market]) -> Market:
    """Planned to trade from `LIVE_FROM`, nothing made yet."""
    market = open_market()
    market.plan(LIVE_FROM)
    return market
