from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.market.aggregate import Aggregator
from services.market.bulk import fold
from services.market.columns import Columns
from tests.unit.market.worlds import EXCHANGE, Life, lives, world

SECONDS = 2400


def aggregator(columns: Columns, exchange: str = EXCHANGE) -> Aggregator:
    made = Aggregator([m.market for m in columns.markets], exchange)
    made.seed({"X1:btc": 1e5, "X2:btc": 3e5}, None)
    return made


def state(of: Aggregator) -> tuple[dict[str, Any], dict[str, Any]]:
    return vars(of.members), vars(of.reference)


def no_oi(t: int) -> dict[str, float]:
    return {}


def compare(columns: Columns, pieces: Iterator[int], exchange: str = EXCHANGE) -> int:
    """Assert that folding equals one second after another; the number of seconds folded."""
    plain, bulk = aggregator(columns, exchange), aggregator(columns, exchange)
    t, folded = columns.from_s, 0
    while t < columns.to_s:
        block = fold(bulk, columns, t, min(columns.to_s, t + next(pieces)), no_oi)
        if block is None:
            closed = columns.closed(t)
            assert bulk.closed(closed, "BTC", {}) == plain.closed(closed, "BTC", {})
            t += 1
        else:
            for i in range(len(block)):
                assert block.second(i) == plain.closed(columns.closed(t + i), "BTC", {})
            t += len(block)
            folded += len(block)
        assert state(bulk) == state(plain)
    return folded


@given(
    lives=lives(SECONDS),
    seed=st.integers(0, 2**32 - 1),
    pieces=st.lists(st.sampled_from((1, 7, 59, 60, 61, 333, 2000)), min_size=1, max_size=5),
    exchange=st.sampled_from((EXCHANGE, "X3", "NONE")),
)
@settings(max_examples=25, deadline=None)
def test_any_markets_in_any_pieces_give_the_same_bits(
    lives: list[Life], seed: int, pieces: list[int], exchange: str
) -> None:
    compare(world(lives, seed, SECONDS), cycle(pieces), exchange)


STEADY = [Life("perp"), Life("spot"), Life("perp", 0.9), Life("spot", 0.9)]
CASES = {
    "steady": STEADY,
    "a market joins late": [*STEADY[:3], Life("spot", silent=((0, 1100),))],
    "a market drops and rejoins": [*STEADY[:3], Life("spot", silent=((1000, 1900),))],
    "the reference market falls silent and returns": [
        Life("perp", silent=((700, 300),)),
        *STEADY[1:],
    ],
    "the reference market stutters": [
        Life("perp", silent=tuple((i, 28 + i // 300) for i in range(700, 2000, 90))),
        *STEADY[1:],
    ],
    "one class falls silent": [STEADY[0], Life("spot", silent=((900, 200),)), STEADY[2]],
    "markets are unknown": [*STEADY[:2], *(Life(x.kind, unknown=((1000, 45),)) for x in STEADY)],
    "all fall silent": [Life(x.kind, x.traded, silent=((1200, 100),)) for x in STEADY],
    "thin": [Life("perp", 0.05), Life("spot", 0.02), Life("perp", 0.03)],
}


@pytest.mark.parametrize("name", CASES)
def test_what_changes_in_a_market_is_followed(name: str) -> None:
    columns = world(CASES[name], 7, 4200)
    assert compare(columns, cycle((240, 480, 960))) > 0.5 * 4200


def test_a_quiet_market_is_folded_whole() -> None:
    columns = world(STEADY, 1, 4200)
    assert compare(columns, cycle((4200,))) > 4150


def test_rewinding_forgets_what_was_folded() -> None:
    columns = world(STEADY, 3, 1200)
    plain, bulk = aggregator(columns), aggregator(columns)
    for t in range(columns.from_s, columns.from_s + 400):
        for one in (plain, bulk):
            one.closed(columns.closed(t), "BTC", {})
    before = bulk.checkpoint()
    assert fold(bulk, columns, columns.from_s + 400, columns.to_s, no_oi) is not None
    assert state(bulk) != state(plain)
    bulk.rewind(before)
    assert state(bulk) == state(plain)
