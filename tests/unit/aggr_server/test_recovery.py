from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from aggr_server import clock, tape
from aggr_server.exchanges.base import (
    StreamKind,
    Trade,
)
from aggr_server.markets import MarketState
from aggr_server.recovery import ForcedUnknown, Recovery
from aggr_server.rest import RestFailed
from tests.unit.aggr_server.recovering import INSTRUMENT, Bench, X, until


@pytest.fixture(autouse=True)
def fast_clock() -> Iterator[None]:
    """Pauses between attempts pass quickly."""
    clock.adjust(f"{clock.now_ms()}*200")
    yield
    clock.adjust("")


@pytest.mark.parametrize("style", ["window", "back"])
@pytest.mark.parametrize("page", [50, 1000])
async def test_a_long_gap_is_rebuilt_from_the_venues_own_record(style: str, page: int) -> None:
    bench = Bench(style, page)
    from_s = bench.now_s - 2000
    bench.traded(from_s - 100, bench.now_s - 3)
    bench.missed(from_s, bench.now_s - 100)
    async with bench.fetching() as recovery:
        await until(recovery, lambda: not bench.left())
    bars = bench.bars()
    assert set(range(from_s, bench.now_s - 100)) <= set(bars)
    assert all(bar.cbuy == 1 and bar.vbuy == 2.0 * bar.close for bar in bars.values())
    assert bench.book.fetched_s == 1900


async def test_a_venue_that_can_only_be_followed_back_is_followed_once() -> None:
    bench = Bench("back", 100)
    bench.traded(bench.now_s - 4000, bench.now_s - 3)
    bench.missed(bench.now_s - 3800, bench.now_s - 200)
    async with bench.fetching() as recovery:
        await until(recovery, lambda: not bench.left())
    # Walking back anew for each chunk would take more than 200 pages.
    assert len(bench.rest.asked) < 60


async def test_a_long_walk_keeps_few_trades_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape, "MAX_TRADES", 250)
    most = 0
    rebuild = MarketState.rebuild

    def watched(self: MarketState, trades: Sequence[Trade], *rest: Any) -> bool:
        nonlocal most
        most = max(most, len(trades))
        return rebuild(self, trades, *rest)

    monkeypatch.setattr(MarketState, "rebuild", watched)
    bench = Bench("back", 100)
    bench.traded(bench.now_s - 4000, bench.now_s - 3)
    bench.missed(bench.now_s - 3800, bench.now_s - 200)
    async with bench.fetching() as recovery:
        await until(recovery, lambda: not bench.left())
    assert most <= 350
    assert len(bench.bars()) >= 3600


async def test_what_the_venue_no_longer_tells_stays_recorded_for_good() -> None:
    bench = Bench("newest")
    bench.traded(bench.now_s - 500, bench.now_s - 3)
    bench.rest.keeps = 100
    bench.missed(bench.now_s - 400, bench.now_s - 20)
    since_s = bench.now_s - 103 + 1
    async with bench.fetching() as recovery:
        await until(recovery, lambda: bench.book.fetched_s > 0 or not bench.left())
        await until(recovery, lambda: not bench.book.pending(X))
    assert bench.left() == set(range(bench.now_s - 400, since_s))
    assert len(bench.rest.asked) <= 3


async def test_a_venue_that_tells_no_past_leaves_the_gap_as_it_is() -> None:
    bench = Bench("none")
    bench.missed(bench.now_s - 40, bench.now_s - 20)
    async with bench.fetching() as recovery:
        await until(recovery, lambda: not bench.book.pending(X))
    assert len(bench.left()) == 20
    assert await recovery.newest_trade_ms(bench.market) is None


async def test_what_is_too_old_is_not_asked_for() -> None:
    bench = Bench(recover_s=100)
    bench.traded(bench.now_s - 400, bench.now_s - 3)
    bench.missed(bench.now_s - 400, bench.now_s - 20)
    async with bench.fetching() as recovery:
        await until(recovery, lambda: not bench.book.pending(X))
    assert min(bench.left()) == bench.now_s - 400
    assert bench.now_s - 101 <= max(bench.left()) <= bench.now_s - 50
    assert not bench.book.pending(X)


@pytest.mark.parametrize(("recover_s", "kept"), [(14_400, 0), (200, 300), (0, 500)])
async def test_trades_are_fetched_while_the_stream_is_still_down(recover_s: int, kept: int) -> None:
    bench = Bench(recover_s=recover_s)
    bench.traded(bench.now_s - 600, bench.now_s - 3)
    bench.book.begin(X, "trades", bench.now_s - 500, "disconnect")
    async with bench.fetching() as recovery:
        for _ in range(20):
            recovery.look()
            await asyncio.sleep(0.005)
        assert len(bench.rest.asked) < 10
    bench.book.settle()
    assert bench.book.is_open(X)
    bench.book.end(X, "trades", bench.now_s)
    assert kept <= len(bench.left()) <= kept + 60


async def test_a_stream_that_is_down_where_no_past_is_told_is_left_alone() -> None:
    bench = Bench("none")
    bench.book.begin(X, "trades", bench.now_s - 500, "disconnect")
    async with bench.fetching() as recovery:
        recovery.look()
        await asyncio.sleep(0.01)
    assert [(s.from_s, s.open, s.final) for s in bench.book.spans()] == [
        (bench.now_s - 500, True, False)
    ]


async def test_failures_are_repeated_and_the_gap_stays_recorded_meanwhile() -> None:
    bench = Bench()
    bench.traded(bench.now_s - 100, bench.now_s - 3)
    bench.rest.failures = [RestFailed("503"), RestFailed("429", retry_after_s=60.0)]
    bench.missed(bench.now_s - 50, bench.now_s - 20)
    begun = clock.monotonic()
    async with bench.fetching() as recovery:
        await until(recovery, lambda: recovery.failures == 2)
        assert len(bench.left()) == 30
        await until(recovery, lambda: not bench.left())
    assert clock.monotonic() - begun >= 60


async def test_rest_that_is_behind_what_was_received_is_not_believed() -> None:
    bench = Bench()
    bench.traded(bench.now_s - 100, bench.now_s - 3)
    bench.missed(bench.now_s - 50, bench.now_s - 20)
    # The second after the gap was received, but REST does not know it yet.
    ts_ms, price, size, id = bench.rest.trades[80]
    assert ts_ms // 1000 == bench.now_s - 20
    bench.market.trade(Trade("x", ts_ms, price, size, True, id, id))
    bench.rest.hidden_from_ms = (bench.now_s - 30) * 1000
    async with bench.fetching() as recovery:
        await until(recovery, lambda: recovery.failures == 1)
        assert len(bench.left()) == 30
        bench.rest.hidden_from_ms = 1 << 60
        await until(recovery, lambda: not bench.left())
    assert len(bench.bars()) >= 30


@pytest.mark.parametrize("style", ["window", "back"])
async def test_where_nothing_was_received_after_a_gap_rest_must_reach_beyond_it(
    style: str,
) -> None:
    bench = Bench(style)
    bench.traded(bench.now_s - 60, bench.now_s - 3)
    bench.missed(bench.now_s - 40, bench.now_s - 20)
    bench.missed(bench.now_s - 20, bench.now_s - 10)
    bench.rest.hidden_from_ms = (bench.now_s - 25) * 1000
    async with bench.fetching() as recovery:
        await until(recovery, lambda: recovery.failures >= 1)
        assert len(bench.left()) == 30
        bench.rest.hidden_from_ms = 1 << 60
        await until(recovery, lambda: not bench.left())
    assert len(bench.bars()) >= 30


async def test_a_market_that_does_not_trade_on_is_not_waited_for_longer_than_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An attempt after 3, 8, 17, 34 and 67 s, and what the machine takes counts for less.
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
    clock.adjust(f"{clock.now_ms()}*50")
    bench = Bench()
    bench.traded(bench.now_s - 60, bench.now_s - 25)
    bench.missed(bench.now_s - 40, bench.now_s - 20)
    begun = clock.monotonic()
    async with bench.fetching() as recovery:
        await until(recovery, lambda: not bench.left())
    assert 30 <= clock.monotonic() - begun < 120
    assert len(bench.bars()) >= 15


async def test_of_a_gap_with_one_second_that_cannot_be_told_the_rest_is_fetched() -> None:
    bench = Bench()
    bench.traded(bench.now_s - 100, bench.now_s - 3)
    bench.missed(bench.now_s - 50, bench.now_s - 20)
    ts_ms, *_ = bench.rest.trades.pop(60)
    bench.market.trade(Trade("x", ts_ms, 100.0, 9.0, True, 10**6, 10**6))
    async with bench.fetching() as recovery:
        await until(recovery, lambda: recovery.failures >= 1)
        assert bench.left() == {ts_ms // 1000}


async def test_forced_orders_are_kept_and_waited_for() -> None:
    bench = Bench()
    bench.traded(bench.now_s - 900, bench.now_s - 3)
    bench.missed(bench.now_s - 800, bench.now_s - 790)
    bench.book.add(X, "liquidations", bench.now_s - 800, bench.now_s - 790, "disconnect")
    known = False

    async def forced(market: MarketState, from_s: int, to_s: int) -> dict[int, tuple[float, float]]:
        if not known:
            raise ForcedUnknown("the database is away")
        return {bench.now_s - 795: (7.0, 8.0)}

    bench.forced = forced
    async with bench.fetching() as recovery:
        await until(recovery, lambda: recovery.failures == 1)
        assert len(bench.left()) == 10
        known = True
        await until(recovery, lambda: not bench.left())
    bar = bench.bars()[bench.now_s - 795]
    assert (bar.lbuy, bar.lsell, bar.cbuy) == (7.0, 8.0, 1)
    assert [s.kind for s in bench.book.spans()] == ["liquidations"]


async def test_a_venue_that_marks_forced_orders_among_its_trades_restores_them() -> None:
    bench = Bench("forced")
    bench.traded(bench.now_s - 50, bench.now_s - 3)
    kinds: list[StreamKind] = ["trades", "liquidations"]
    for kind in kinds:
        bench.book.add(X, kind, bench.now_s - 50, bench.now_s - 20, "disconnect")
    async with bench.fetching() as recovery:
        await until(recovery, lambda: not bench.left())
    assert list(bench.book.spans()) == []
    assert bench.bars()[bench.now_s - 50].lbuy == 100.0


async def test_the_newest_and_busiest_come_first_and_no_market_twice_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    markets = {}
    for number, trades in enumerate((5, 900, 20)):
        name = f"FAKE:{number}"
        market = MarketState(bench.adapter, INSTRUMENT, bench.builder.series(name))
        market.trades = trades
        markets[name] = market
        bench.book.add(name, "trades", bench.now_s - 60, bench.now_s - 50, "jump")
    bench.book.add("FAKE:0", "trades", bench.now_s - 3000, bench.now_s - 2990, "jump")
    recovery = Recovery(bench.adapter, bench.rest, bench.book, markets, recover_s=14_400)
    order: list[str] = []
    at_work: set[str] = set()

    async def noted(market: MarketState, span: Any) -> None:
        assert market.name not in at_work
        at_work.add(market.name)
        order.append(market.name)
        await asyncio.sleep(0.01)
        at_work.discard(market.name)
        bench.book.fetched(market.name, "trades", span.from_s, span.to_s)
        bench.book.settle()

    monkeypatch.setattr(recovery, "_recover", noted)
    task = asyncio.create_task(recovery.run())
    await until(recovery, lambda: len(order) == 4)
    task.cancel()
    assert order == ["FAKE:1", "FAKE:2", "FAKE:0", "FAKE:0"]


async def test_it_tells_whether_the_venue_knows_newer_trades() -> None:
    bench = Bench()
    recovery = Recovery(bench.adapter, bench.rest, bench.book, {}, recover_s=100)
    assert await recovery.newest_trade_ms(bench.market) == 0
    bench.traded(bench.now_s - 20, bench.now_s - 5)
    newest = (bench.now_s - 6) * 1000 + 10
    assert await recovery.newest_trade_ms(bench.market) == newest
    bench.market.last_trade_ms = newest
    assert await recovery.newest_trade_ms(bench.market) == 0
    bench.rest.failures = [RestFailed("503")]
    assert await recovery.newest_trade_ms(bench.market) is None
