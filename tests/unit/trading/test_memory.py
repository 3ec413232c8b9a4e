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
    Settled().look({"A": Loaded()})
    assert gc.get_freeze_count() > 0


def test_what_was_there_before_a_symbol_was_loaded_anew_is_given_back() -> None:
    settled, loaded = Settled(), {"A": Loaded(), "B": Loaded()}
    settled.look(loaded)
    for _ in range(3):
        old = weakref.ref(loaded.pop("A"))
        settled.look(loaded)
        loaded["A"] = Loaded()
        settled.look(loaded)
        settled.look(loaded)
        assert old() is None
        assert not within_reach(loaded["A"])


def test_while_symbols_are_being_loaded_nothing_is_looked_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collected: list[str] = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append("all"))
    settled, loaded = Settled(), {"A": Loaded()}
    for name in "BCD":
        loaded[name] = Loaded()
        settled.look(loaded)
        settled.look(loaded)
    for name in "ABC":
        loaded[name] = Loaded()
        settled.look(loaded)
    assert collected == []
    for _ in range(3):
        settled.look(loaded)
    assert collected == ["all"]


def test_nothing_is_put_out_of_reach_while_nothing_is_loaded() -> None:
    settled, loaded = Settled(), {"A": Loaded(), "B": Loaded()}
    settled.look(loaded)
    later = Loaded()
    settled.look(loaded)
    assert within_reach(later)
    loaded["C"] = Loaded()
    settled.look(loaded)
    assert not within_reach(later)


def within_reach(one: object) -> bool:
    """Of the collector."""
    return any(found is one for found in gc.get_objects())
