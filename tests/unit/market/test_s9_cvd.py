"""S9: how trades are cut, joined, ordered or counted does not change the CVD."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggr_server.bars import BarBuilder
from aggr_server.wire import Bar, ClosedSecond, Market
from services.market.aggregate import Aggregator
from services.market.assemble import Assembler
from services.strategy.engine import SymbolEngine

T0 = 1_700_000_040
SECONDS = 5
MARKETS = [
    Market("A:spot", "A", "BTC", "USD", "spot"),
    Market("B:spot", "B", "BTC", "USDT", "spot"),
    Market("A:perp", "A", "BTC", "USDT", "perp"),
    Market("B:perp", "B", "BTC", "USDT", "perp"),
]


class Trade(NamedTuple):
    ts_ms: int
    market: str
    is_buy: bool
    usd: float


trades_ = st.lists(
    st.builds(
        Trade,
        ts_ms=st.integers(T0 * 1000, (T0 + SECONDS) * 1000 - 1),
        market=st.sampled_from([m.market for m in MARKETS]),
        is_buy=st.booleans(),
        usd=st.floats(0.01, 1e7),
    ),
    min_size=1,
    max_size=40,
)


def bars_of(trades: Iterable[Trade]) -> dict[int, list[Bar]]:
    """What a collector makes of trades in the order they come in."""
    builder = BarBuilder()
    builder.advance(T0 * 1000 + 200)
    series = {m.market: builder.series(m.market) for m in MARKETS}
    for order, trade in enumerate(trades, start=1):
        series[trade.market].trade(trade.ts_ms, 100.0, trade.usd, trade.is_buy, order)
    closed = builder.advance((T0 + SECONDS + 1) * 1000)
    return {one.second: list(one.bars) for one in closed}


def cvds(messages: Iterable[Sequence[Bar]]) -> list[tuple[float, float]]:
    """Spot and perp CVD after each second. `messages`: each the bars of one message."""
    assembler = Assembler({m.market: m.base for m in MARKETS}.get)
    assembler.start_at(T0)
    aggregator, engine = Aggregator(MARKETS, "A"), SymbolEngine("BTC")
    aggregator.seed({}, 100.0)
    for seq, bars in enumerate(messages, start=1):
        second = bars[0].time if bars else T0
        assembler.offer(ClosedSecond("c", "e", seq, second, 0, None, list(bars)))
    found = []
    for closed in assembler.take(0, complete_to=T0 + SECONDS):
        summed = aggregator.closed(closed, "BTC", {})
        assert summed is not None
        engine.step(summed)
        found.append((engine.c_spot, engine.c_perp))
    return found


def plain(trades: Iterable[Trade]) -> list[tuple[float, float]]:
    return cvds(bars_of(trades).values())


def near(found: list[tuple[float, float]], expected: list[tuple[float, float]]) -> None:
    assert len(found) == len(expected) == SECONDS
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b, rel=1e-12, abs=1e-6)


@given(trades_)
def test_s9_cvd_is_the_running_sum_of_buys_minus_sells(trades: list[Trade]) -> None:
    expected = []
    for t in range(T0, T0 + SECONDS):
        before = [x for x in trades if x.ts_ms < (t + 1) * 1000]
        spot, perp = (
            sum(x.usd if x.is_buy else -x.usd for x in before if x.market.endswith(kind))
            for kind in ("spot", "perp")
        )
        expected.append((spot, perp))
    near(plain(trades), expected)


@given(trades_, st.integers(2, 5))
def test_s9_a_trade_may_be_split_into_fills(trades: list[Trade], parts: int) -> None:
    split = [t._replace(usd=t.usd / parts) for t in trades for _ in range(parts)]
    near(plain(split), plain(trades))


@given(trades_)
def test_s9_fills_of_a_second_may_be_merged(trades: list[Trade]) -> None:
    merged: dict[tuple[int, str, bool], Trade] = {}
    for trade in trades:
        key = (trade.ts_ms // 1000, trade.market, trade.is_buy)
        known = merged.get(key)
        merged[key] = trade if known is None else known._replace(usd=known.usd + trade.usd)
    near(plain(merged.values()), plain(trades))


@given(trades_, st.randoms(use_true_random=False))
def test_s9_the_order_within_a_second_does_not_matter(trades: list[Trade], random: Random) -> None:
    shuffled = list(trades)
    random.shuffle(shuffled)
    shuffled.sort(key=lambda t: t.ts_ms // 1000)
    near(plain(shuffled), plain(sorted(trades, key=lambda t: t.ts_ms // 1000)))


@given(trades_, st.randoms(use_true_random=False))
def test_s9_the_order_of_markets_and_messages_does_not_matter_to_the_bit(
    trades: list[Trade], random: Random
) -> None:
    by_second = bars_of(trades)
    single = [[bar] for bars in by_second.values() for bar in bars]
    random.shuffle(single)
    assert cvds(single) == cvds(by_second.values())


@given(trades_, st.sampled_from([2.0**-20, 2.0**17]))
def test_s9_the_unit_of_volume_scales_the_cvd_and_nothing_else(
    trades: list[Trade], factor: float
) -> None:
    scaled = plain([t._replace(usd=t.usd * factor) for t in trades])
    assert scaled == [(spot * factor, perp * factor) for spot, perp in plain(trades)]


@given(trades_)
def test_s9_swapping_sides_negates_the_cvd(trades: list[Trade]) -> None:
    swapped = plain([t._replace(is_buy=not t.is_buy) for t in trades])
    assert swapped == [(-spot, -perp) for spot, perp in plain(trades)]
