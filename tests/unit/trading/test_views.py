from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from aggr_server.wire import Market
from services.core.views import View, Views
from services.market.aggregate import Aggregator
from services.strategy.progress_setup import PARTS
from services.strategy.types import State
from tests.unit.market.worlds import EXCHANGE
from tests.unit.strategy.scenarios import LEAD_S
from tests.unit.trading.played import Played, unmet
from tests.unit.trading.view_examples import FOLDER, examples


def reset() -> Played:
    at = Played("S3")
    at.to(at.start + LEAD_S + 3_050)
    assert at.state is State.RESET
    return at


def differences(found: Any, expected: Any, path: str = "") -> Iterator[str]:
    """Where two decoded messages differ by more than the last bits of a float."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in found.keys() | expected.keys():
            yield from differences(found.get(key), expected.get(key), f"{path}.{key}")
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            yield from differences(a, b, f"{path}[{i}]")
    elif isinstance(found, float) and isinstance(expected, int | float):
        if not math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9):
            yield f"{path}: {found} instead of {expected}"
    elif found != expected:
        yield f"{path}: {found!r} instead of {expected!r}"


def test_the_examples_are_what_is_told() -> None:
    made = {name: msgspec.to_builtins(message) for name, message in examples()}
    assert {path.stem for path in FOLDER.glob("*.json")} == made.keys()
    for name, message in made.items():
        kept = msgspec.json.decode((FOLDER / f"{name}.json").read_bytes())
        assert list(differences(message, kept)) == [], name
    states = {message["views"][0]["state"] for message in made.values()}
    assert states == {str(state) for state in State}


def test_every_example_reads_as_a_message() -> None:
    for path in FOLDER.glob("*.json"):
        (view,) = msgspec.json.decode(path.read_bytes(), type=Views).views
        assert view.waits, path.name
        names = [(wait.kind, wait.way, wait.code) for wait in view.waits]
        assert len(set(names)) == len(names), path.name


def test_a_symbol_that_is_being_loaded_warms_up_whatever_is_replayed() -> None:
    at = reset()
    at.trader.live = False
    view = at.view()
    assert (view.state, view.direction, view.setup, view.score) == ("WARMUP", 0, None, None)
    assert view.t == at.t
    (wait,) = view.waits
    assert (wait.code, wait.met) == ("loading", False)
    assert wait.text.startswith("history is being loaded, at ")


def test_without_a_second_a_view_is_of_now() -> None:
    at = Played("S3")
    at.t += 100
    assert at.view().t == at.t
    at.trader.live = False
    assert at.view().t == at.t


def test_markets_that_are_missing_are_named() -> None:
    at = Played("S3")
    at.trader.aggregator = Aggregator([Market("X1:btc", EXCHANGE, "BTC", "USDT", "perp")], EXCHANGE)
    at.step()
    missing = unmet(at.view())
    assert missing["market_spot"].text == "no spot market is collected; see AGGR_EXCHANGES"
    assert "market_perp" not in missing


def test_warming_up_says_until_when() -> None:
    at = Played("S3")
    at.to(at.start + 7_234)
    view = at.view()
    assert view.state == "WARMUP"
    assert view.warm_at_t == at.start + 270 * 60
    at.to(view.warm_at_t - 2)
    assert at.view().state == "WARMUP"
    at.step()
    assert (at.view().state, at.view().since_t, at.view().warm_at_t) == ("WATCHING", at.t, None)


def test_the_view_is_what_the_strategy_decides_by() -> None:
    at = reset()
    view, engine = at.view(), at.trader.engine
    record = engine.view()
    assert (view.t, view.state, view.direction) == (at.t, "RESET", 1)
    assert (view.c_spot, view.c_perp) == (engine.c_spot, engine.c_perp)
    assert (view.environment, view.k) == (
        record["context"]["environment"],
        record["context"]["k"],
    )
    assert (view.score, view.parts) == (record["score"]["total"], record["score"]["parts"])
    assert view.parts_max.keys() == view.parts.keys() == set(PARTS)
    for window in view.windows:
        told = record["divergence"]["windows"][str(window.minutes)]
        assert (window.z_spot, window.z_perp, window.gap, window.holds) == (
            told["z_spot"],
            told["z_perp"],
            told["gap"],
            told["holds"],
        )
    assert view.setup is not None
    assert view.setup.closed == record["reset"]["closed"]
    assert view.setup.extreme_price == record["reset"]["extreme_price"]


def prices(view: View) -> list[float]:
    level = [wait.have for wait in view.waits if wait.code == "level"]
    level += [wait.need for wait in view.waits if wait.code == "level"]
    found = [view.price, *level]
    if view.setup is not None:
        found.append(view.setup.extreme_price)
    if view.position is not None:
        found += [view.position.entry_price, view.position.invalidation_price]
    return [price for price in found if price is not None]


@pytest.mark.parametrize("in_position", [False, True])
def test_prices_are_those_of_the_execution_market(in_position: bool) -> None:
    at = reset()
    if in_position:
        at.until(State.ENTRY_READY)
        at.fill()
    plain = prices(at.view())
    assert len(plain) == (5 if in_position else 2)
    at.trader.aggregator.reference._execution_factor = 2.0
    assert prices(at.view()) == pytest.approx([price / 2.0 for price in plain], rel=1e-12)


def test_an_exit_says_for_how_long_it_has_been_asked_for() -> None:
    at = reset()
    at.until(State.ENTRY_READY)
    at.fill()
    at.until(State.CLOSING)
    for _ in range(12):
        at.step()
    view = at.view()
    (wait,) = view.waits
    assert (wait.code, wait.have, wait.unit) == ("closed", 12.0, "s")
    assert "RANGE_BREAK" in wait.text
    assert view.position is not None
    assert view.position.exit_reason == "RANGE_BREAK"
    at.close()
    over = at.view()
    assert (over.state, over.position, over.signal_id) == ("COOLDOWN", None, "")
    assert over.cooldown_until_t == at.t + 900


def test_what_the_position_has_given_back_is_told_against_what_ends_it() -> None:
    at = reset()
    at.until(State.ENTRY_READY)
    signal_id = at.trader.engine.signal_id
    at.fill()
    at.to(at.t + 400)
    view = at.view()
    assert view.position is not None
    assert (view.position.signal_id, view.signal_id) == (signal_id, signal_id)
    best = at.trader.engine.position
    assert best is not None
    change = at.trader.engine.c_spot - best.c_spot
    assert view.position.reversal == pytest.approx(1.0 - change / best.best_spot)
    assert view.position.reversal_needed == 0.5
