from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from services.trading.memory import Settled


class Loaded:
    """Like an engine, it leads back to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_is_loaded_is_no_business_of_the_collector() -> None:
    gc.unfreeze()
    Settled().look([Loaded()])
    assert gc.get_freeze_count() > 0


def test_what_was_there_before_a_symbol_was_loaded_anew_is_given_back() -> None:
    settled, loaded = Settled(), [Loaded(), Loaded()]
    settled.look(loaded)
    for _ in range(3):
        old = weakref.ref(loaded[0])
        loaded[0] = Loaded()
        settled.look(loaded)
        assert old() is None


def test_nothing_is_looked_through_while_nothing_is_loaded() -> None:
    settled, loaded = Settled(), [Loaded(), Loaded()]
    settled.look(loaded)
    later = Loaded()
    settled.look(loaded)
    settled.look(loaded[:1])
    assert within_reach(later)
    settled.look(loaded)
    assert not within_reach(later)


def within_reach(one: object) -> bool:
    """Of the collector."""
    return any(found is one for found in gc.get_objects())
