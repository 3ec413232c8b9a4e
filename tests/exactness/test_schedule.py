from __future__ import annotations

import pytest

from aggr_server import exchanges
from services.simulator import venues
from services.simulator.connections import Hub
from services.simulator.fault_check import check
from services.simulator.fault_plan import Drop, Mute
from services.simulator.ledger import Ledger
from services.simulator.market import Market
from tests.exactness.schedule import KINDS, LEAST_MUTE_S, QUIET_START_S, draw
from tests.exactness.venues import TWELVE

START_MS = 1_795_000_000_000


def test_the_same_seed_draws_the_same_schedule() -> None:
    assert draw(5, TWELVE, START_MS, 10) == draw(5, TWELVE, START_MS, 10)
    assert draw(5, TWELVE, START_MS, 10) != draw(6, TWELVE, START_MS, 10)


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_of_fault_is_drawn_and_can_be_followed(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    drawn = draw(seed, TWELVE, START_MS, 3)
    instruments = venues.instruments(TWELVE)
    ledger = Ledger(tmp_path_factory.mktemp("ledger"), instruments)
    built = venues.create(Market(1, instruments, ledger), Hub(), names=TWELVE)
    ledger.close()
    check(drawn.plan, built)
    # Resets come singly and again and again.
    assert len({type(fault) for fault in drawn.faults}) == len(KINDS) - 1
    assert {kill.victim for kill in drawn.kills} == {"collector", "influx"}
    assert min(fault.from_ms for fault in drawn.faults) >= START_MS + QUIET_START_S * 1000


def test_nothing_is_drawn_that_nobody_could_notice() -> None:
    for fault in draw(1, TWELVE, START_MS, 60).faults:
        if isinstance(fault, Drop):
            assert all(exchanges.get(venue).gapless for venue in fault.venues)
        if isinstance(fault, Mute):
            assert fault.until_ms - fault.from_ms >= LEAST_MUTE_S * 1000


def test_what_happened_around_a_second_is_told() -> None:
    drawn = draw(3, TWELVE, START_MS, 10)
    fault = drawn.faults[5]
    told = drawn.around(f"{fault.venues[0]}:x", fault.from_ms // 1000)
    assert any(line.startswith(type(fault).__name__) for line in told)
