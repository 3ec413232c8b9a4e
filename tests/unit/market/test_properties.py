"""From bars to decisions: how the flow is spread over markets and rows does not matter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggr_server.wire import Bar, ClosedSecond, Kind, Market
from services.market.aggregate import Aggregator
from services.market.assemble import Assembler
from services.strategy.engine import SymbolEngine
from services.strategy.types import Entry, Event, Exit, Second, Transition
from tests.unit.strategy.conftest import market_of
from tests.unit.strategy.scenarios import LEAD_S

BASE = "BTC"
T = 1_200_000
Rows = Mapping[str, Bar]
Split = Callable[[int, Second], Rows]


def market(name: str, kind: Kind) -> Market:
    return Market(name, name.partition(":")[0], BASE, "USDT", kind)


KINDS: dict[str, Kind] = {
    "A:btc": "spot",
    "B:btc": "spot",
    "P:btc": "perp",
    "REF:btc": "perp",
}
MARKETS = [market(name, kind) for name, kind in KINDS.items()]


def bar(name: str, t: int, delta: float, volume: float, price: float = 100.0) -> Bar:
    buy, sell = (volume + delta) / 2, (volume - delta) / 2
    return Bar(t, name, price, price, price, price, buy, sell, 1, 1, 0.0, 0.0)


def decide(name: str, split: Split) -> list[tuple[Any, ...]]:
    """Outline of the events of a scenario whose seconds `split` turns into bars."""
    aggregator, engine = Aggregator(MARKETS, "REF"), SymbolEngine(BASE)
    events: list[Event] = []
    for i, second in enumerate(market_of(name).seconds()):
        summed = aggregator.second(second.t, split(i, second), oi=second.oi)
        assert summed is not None
        for event in engine.step(summed):
            events.append(event)
            if isinstance(event, Entry):
                events += engine.accept(event.setup_id)
                events += engine.filled(event.t, 1, event.entry_price)
            elif isinstance(event, Exit):
                events += engine.position_closed(event.t, event.reason)
    return [_outline(event) for event in events]


def _outline(event: Event) -> tuple[Any, ...]:
    if isinstance(event, Transition):
        return (event.t, event.previous, event.state, event.reason)
    if isinstance(event, Entry):
        return (event.t, event.direction, round(event.score, 6))
    return (event.t, getattr(event, "reason", ""))


def flow(name: str, s: Second, share: float = 1.0) -> Bar:
    spot = KINDS[name] == "spot"
    delta, volume = (s.spot_delta, s.spot_volume) if spot else (s.perp_delta, s.perp_volume)
    buy, sell = share * (volume + delta) / 2, share * (volume - delta) / 2
    return Bar(s.t, name, s.open, s.high, s.low, s.close, buy, sell, 1, 1, 0.0, 0.0)


def whole(_: int, s: Second) -> Rows:
    return {"A:btc": flow("A:btc", s), "REF:btc": flow("REF:btc", s)}


@pytest.mark.parametrize("name", ["S3", "S5"])
def test_P8_a_market_split_in_two_gives_the_same_decisions(name: str) -> None:
    shares = np.random.default_rng(8).uniform(0.05, 0.95, len(market_of(name))).tolist()

    def parts(i: int, s: Second) -> Rows:
        of = {"A:btc": shares[i], "B:btc": 1 - shares[i], "REF:btc": 0.6, "P:btc": 0.4}
        return {market: flow(market, s, share) for market, share in of.items()}

    plain = decide(name, whole)
    assert len(plain) > 5
    assert decide(name, parts) == plain


def test_P9_rows_without_trades_are_no_different_from_missing_rows() -> None:
    def sparse(*, rows: bool) -> Split:
        def split(i: int, s: Second) -> Rows:
            found = dict(whole(i, s))
            if i % 3:
                found["P:btc"] = flow("P:btc", s, 0.0)
            if i > LEAD_S and i % 7 == 0:  # now and then nothing at all happens
                found = {name: flow(name, s, 0.0) for name in found}
            return {n: b for n, b in found.items() if rows or b.vbuy + b.vsell > 0.0}

        return split

    with_rows = decide("S1", sparse(rows=True))
    assert with_rows
    assert decide("S1", sparse(rows=False)) == with_rows


@settings(max_examples=25, deadline=None, print_blob=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    joins_at=st.integers(1000, 1400),
    size=st.floats(1e-3, 1e9),
    gone_for=st.integers(0, 60),
)
def test_P10_a_market_that_joins_adds_its_own_deltas_and_nothing_else(
    seed: int, joins_at: int, size: float, gone_for: int
) -> None:
    rng = np.random.default_rng(seed)
    n = 2600
    own = rng.normal(0, 1, (3, n))
    join = np.round(rng.normal(0, size, n), 6)
    without, with_it = Aggregator(MARKETS, "REF"), Aggregator(MARKETS, "REF")
    drops = range(2450, 2450 + gone_for)
    counted: list[int] = []
    for i in range(n):
        t = T + i
        rows = {
            name: bar(name, t, float(own[k][i]), 10.0)
            for k, name in enumerate(("A:btc", "P:btc", "REF:btc"))
        }
        plain = without.second(t, rows)
        if i >= joins_at and i not in drops:
            rows["B:btc"] = bar("B:btc", t, float(join[i]), abs(float(join[i])) + 1.0)
        more = with_it.second(t, rows)
        assert plain is not None
        assert more is not None
        assert more.perp_delta == plain.perp_delta
        step = more.spot_delta - plain.spot_delta
        if "B:btc" in rows and i >= joins_at + 960:
            assert step == pytest.approx(float(join[i]), rel=1e-6, abs=1e-6)
        if step:
            counted.append(i)
            assert step == pytest.approx(float(join[i]), rel=1e-6, abs=1e-6)
    assert counted[0] >= joins_at + 900


@st.composite
def messages(draw: st.DrawFn) -> list[ClosedSecond]:
    """Seconds of one collector, some of which amend the one before."""
    found = []
    for i in range(draw(st.integers(2, 12))):
        volume = draw(st.floats(0.0, 100.0))
        message = ClosedSecond("c", "e", i + 1, T + i, 0, None, [bar("A:btc", T + i, 0.0, volume)])
        if i and draw(st.booleans()):
            message.amended = [bar("A:btc", T + i - 1, 0.0, draw(st.floats(0.0, 100.0)))]
        found.append(message)
    return found


def _volume(a: Assembler, upto: int) -> float:
    total = 0.0
    for closed in a.take(0, complete_to=upto):
        total += sum(b.vbuy + b.vsell for rows in closed.bars.values() for b in rows.values())
        total += sum(v.buy + v.sell for rows in closed.late.values() for v in rows.values())
    return total


def _feed(found: Iterable[ClosedSecond], again: Callable[[int], Iterable[Bar]]) -> float:
    a = Assembler(lambda _: BASE)
    total = 0.0
    for i, message in enumerate(found):
        a.offer(message)
        total += _volume(a, message.second + 1)
        a.merge(again(i))
    return total + _volume(a, T + 20)


@given(messages(), st.data())
def test_bars_that_are_replayed_change_nothing(
    found: list[ClosedSecond], data: st.DataObject
) -> None:
    """What is known of a second may be read back any number of times, in any order."""
    known: dict[int, Bar] = {}
    states: list[list[Bar]] = []
    for message in found:
        for one in (*message.amended, *message.bars):
            known[one.time] = one
        states.append(list(known.values()))

    def again(i: int) -> list[Bar]:
        return data.draw(st.lists(st.sampled_from(states[i]), max_size=8))

    plain = _feed(found, lambda _: ())
    assert plain == pytest.approx(sum(b.vbuy + b.vsell for b in known.values()), abs=1e-9)
    assert _feed(found, again) == pytest.approx(plain, abs=1e-9)
