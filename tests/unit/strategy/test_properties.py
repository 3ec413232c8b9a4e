"""What must not change a decision: units, origins, mirrors, the future, the clock."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from services.strategy.engine import SymbolEngine
from services.strategy.run import run
from services.strategy.types import Entry, Event, Exit, Transition
from tests.unit.strategy.conftest import events_of, market_of
from tests.unit.strategy.noise import wild
from tests.unit.strategy.scenarios import MIDNIGHT, Market

SOURCES = Path(__file__).parents[3] / "services" / "strategy"
NAMES = ["S3", "S5"]


def outline(
    events: Iterable[Event], *, sign: int = 1, shift: int = 0
) -> list[tuple[str, int, str, int, float]]:
    """Kind, second, state or reason, direction and score of each event."""
    rows = []
    for event in events:
        score, text, direction = 0.0, "", 0
        if isinstance(event, Transition):
            text, direction = f"{event.previous}>{event.state}", event.direction
        elif isinstance(event, Entry):
            text, direction, score = event.reset_type, event.direction, round(event.score, 6)
        elif isinstance(event, Exit):
            text, direction = event.reason, event.direction
        rows.append((type(event).__name__, event.t - shift, text, sign * direction, score))
    return rows


def decide(market: Market, *, spot: float = 0.0, perp: float = 0.0) -> list[Event]:
    return list(run(SymbolEngine("BTC", c_spot=spot, c_perp=perp), market.seconds()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [1e-3, 1e6])
def test_P1_the_unit_of_volume_does_not_matter(name: str, factor: float) -> None:
    events = decide(market_of(name).scaled(spot=factor, perp=factor))
    assert outline(events) == outline(events_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_P2_the_size_of_one_leg_against_the_other_does_not_matter(name: str) -> None:
    events = decide(market_of(name).scaled(spot=7.0, perp=0.3))
    assert outline(events) == outline(events_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_P3_a_mirrored_market_gives_mirrored_decisions(name: str) -> None:
    events = decide(market_of(name).mirror())
    assert outline(events, sign=-1) == outline(events_of(name))
    for mirrored, plain in zip(events, events_of(name), strict=True):
        if isinstance(mirrored, Entry) and isinstance(plain, Entry):
            assert mirrored.context_k == pytest.approx(-plain.context_k, abs=1e-9)
            assert dict(mirrored.breakdown) == pytest.approx(dict(plain.breakdown), abs=1e-9)
            assert mirrored.stop_distance == pytest.approx(plain.stop_distance, abs=1e-12)


@pytest.fixture(scope="module")
def noisy() -> tuple[Market, list[Event]]:
    """A day of noise with several setups, and what is decided on it."""
    market = wild(1, seed=16)
    events = decide(market)
    assert len(events) > 10
    return market, events


def test_P3_a_mirrored_day_of_noise_gives_mirrored_decisions(
    noisy: tuple[Market, list[Event]],
) -> None:
    market, events = noisy
    assert outline(decide(market.mirror()), sign=-1) == outline(events)


def test_P1_P2_P7_units_do_not_matter_on_a_day_of_noise(
    noisy: tuple[Market, list[Event]],
) -> None:
    market, events = noisy
    scaled = market.scaled(spot=7e6, perp=3e5, price=1e-6)
    assert outline(decide(scaled)) == outline(events)


def test_P4_the_origin_does_not_matter_on_a_day_of_noise(
    noisy: tuple[Market, list[Event]],
) -> None:
    market, events = noisy
    assert outline(decide(market, spot=-4e5, perp=7e7)) == outline(events)


@pytest.mark.parametrize("cut", [54_430, 54_500, 66_000])
def test_P5_the_future_does_not_matter_on_a_day_of_noise(
    cut: int, noisy: tuple[Market, list[Event]]
) -> None:
    market, events = noisy
    before = [event for event in events if event.t < MIDNIGHT + cut]
    assert outline(run(SymbolEngine("BTC"), market.seconds(0, cut))) == outline(before)


@pytest.mark.parametrize("name", NAMES)
def test_P4_the_origin_of_the_accumulators_does_not_matter(name: str) -> None:
    events = decide(market_of(name), spot=123_456.0, perp=-9e7)
    assert outline(events) == outline(events_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_P7_the_unit_of_price_does_not_matter(name: str) -> None:
    events = decide(market_of(name).scaled(price=1e-6))
    assert outline(events) == outline(events_of(name))
    entry = next(event for event in events if isinstance(event, Entry))
    plain = next(event for event in events_of(name) if isinstance(event, Entry))
    assert entry.invalidation_price == pytest.approx(1e-6 * plain.invalidation_price, rel=1e-9)


@pytest.mark.parametrize("cut", [22_000, 24_600, 25_200])
def test_P5_the_future_does_not_matter(cut: int) -> None:
    events = list(run(SymbolEngine("BTC"), market_of("S3").seconds(0, cut)))
    before = [event for event in events_of("S3") if event.t < MIDNIGHT + cut]
    assert outline(events) == outline(before)


def test_P11_the_hour_of_the_day_does_not_matter() -> None:
    shift = 4 * 3600
    events = decide(replace(market_of("S5"), start=MIDNIGHT + shift))
    assert outline(events, shift=shift) == outline(events_of("S5"))


def named_times(tree: ast.Module) -> set[int]:
    """Literals that are the value of a name ending in _s, _min (times) in any case."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.AnnAssign | ast.Assign) or node.value is None:
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        name = target.id if isinstance(target, ast.Name) else ""
        if name.lower().endswith(("_s", "_min")):
            found |= {id(inner) for inner in ast.walk(node.value)}
    return found


def test_P12_no_number_of_the_core_is_an_amount() -> None:
    large = []
    for path in sorted(SOURCES.glob("*.py")):
        tree = ast.parse(path.read_text())
        times = named_times(tree)
        large += [
            f"{path.name}:{node.lineno}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, int | float)
            and node.value >= 1000
            and id(node) not in times
        ]
    assert large == []


def test_the_core_imports_numpy_and_the_standard_library_only() -> None:
    forbidden = {"time", "datetime", "random", "os", "socket", "logging", "asyncio", "secrets"}
    allowed = {"numpy", "services"}
    for path in SOURCES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                root = name.split(".")[0]
                assert root in allowed or root in sys.stdlib_module_names, (path.name, name)
                assert root not in forbidden, (path.name, name)
                if root == "services":
                    assert name.startswith("services.strategy"), (path.name, name)
