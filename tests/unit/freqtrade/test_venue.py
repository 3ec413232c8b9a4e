"""Positions on the exchange that freqtrade does not know: noticed, and not taken for races."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from squeezeflow.venue import (
    BLIND_AFTER_S,
    EVERY_S,
    GRACE_S,
    SUSPICIOUS_EVERY_S,
    Watch,
    covered,
    resting_stops,
)

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


@dataclass
class Order:
    ft_order_side: str
    safe_remaining: float


@dataclass
class Stop:
    order_id: str = "1"


@dataclass
class Trade:
    pair: str = BTC
    amount: float = 0.5
    is_short: bool = False
    open_orders: list[Order] = field(default_factory=list)
    open_sl_orders: list[Stop] = field(default_factory=lambda: [Stop()])

    @property
    def entry_side(self) -> str:
        return "sell" if self.is_short else "buy"


class Exchange:
    """Answers with the positions set; raises when told to."""

    def __init__(self) -> None:
        self.positions: list[dict[str, Any]] = []
        self.broken = False
        self.asked = threading.Semaphore(0)

    def fetch_positions(self) -> Sequence[dict[str, Any]]:
        self.asked.release()
        if self.broken:
            raise RuntimeError("the exchange is away")
        return list(self.positions)


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


EXIT = Order("sell", 0.5)


def position(pair: str = BTC, side: str = "long", contracts: float = 0.5) -> dict[str, Any]:
    """A position as ccxt gives it."""
    return {"symbol": pair, "side": side, "contracts": contracts, "contractSize": 1.0}


@pytest.fixture
def exchange() -> Exchange:
    """An exchange without positions."""
    return Exchange()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


@pytest.fixture
def watch(exchange: Exchange, clock: Clock) -> Watch:
    """Not started: the tests ask."""
    return Watch(exchange, clock)


def ask(watch: Watch, clock: Clock, after_s: float = 0.0) -> None:
    clock.now_s += after_s
    watch.ask()


def settled(watch: Watch, clock: Clock, trades: list[Trade]) -> list[str]:
    """What is unknown once the grace is over."""
    ask(watch, clock)
    watch.unknown(trades)
    ask(watch, clock, GRACE_S)
    return watch.unknown(trades)


def test_before_the_first_answer_nothing_is_known_and_nobody_is_a_stranger(watch: Watch) -> None:
    assert watch.is_blind
    assert watch.unknown([Trade()]) == []


@pytest.mark.parametrize(
    ("held", "trades", "expected"),
    [
        ([], [], []),
        ([], [Trade()], []),
        ([position()], [Trade()], []),
        ([position(side="short")], [Trade(is_short=True)], []),
        ([position()], [], [f"long 0.5 {BTC}"]),
        ([position(side="short")], [Trade()], [f"short 0.5 {BTC}"]),
        ([position(contracts=0.7)], [Trade()], [f"long 0.2 {BTC}"]),
        ([position(), position(ETH, "short", 3)], [Trade()], [f"short 3 {ETH}"]),
        ([position(contracts=0.3)], [Trade()], []),
        ([position()], [Trade(amount=0.3, open_orders=[Order("buy", 0.2)])], []),
        ([position()], [Trade(amount=0.3, open_orders=[Order("sell", 0.3)])], [f"long 0.2 {BTC}"]),
        ([position(contracts=0.1 + 0.2)], [Trade(amount=0.3)], []),
        ([{**position(), "side": None, "contracts": 0.0}], [], []),
        ([{**position(contracts=5), "contractSize": 0.1}], [Trade()], []),
    ],
)
def test_what_trades_do_not_account_for_is_unknown(
    watch: Watch,
    exchange: Exchange,
    clock: Clock,
    held: list[dict[str, Any]],
    trades: list[Trade],
    expected: list[str],
) -> None:
    exchange.positions = held
    assert settled(watch, clock, trades) == expected


def test_X8_is_known_within_the_minute_even_if_an_answer_is_missed(
    watch: Watch, exchange: Exchange, clock: Clock
) -> None:
    ask(watch, clock)
    began = clock.now_s
    exchange.positions = [position()]
    ask(watch, clock, EVERY_S)
    while not watch.unknown([]):
        exchange.broken = not exchange.broken
        ask(watch, clock, SUSPICIOUS_EVERY_S)
    assert clock.now_s - began <= 45


def test_position_of_an_order_under_way_is_not_unknown(
    watch: Watch, exchange: Exchange, clock: Clock
) -> None:
    exchange.positions = [position()]
    ask(watch, clock)
    assert watch.unknown([]) == []
    clock.now_s += 1.0
    assert watch.unknown([Trade()]) == []
    ask(watch, clock, 30.0)
    assert watch.unknown([Trade()]) == []


def test_answer_older_than_an_exit_is_not_held_against_it(
    watch: Watch, exchange: Exchange, clock: Clock
) -> None:
    exchange.positions = [position()]
    ask(watch, clock)
    assert watch.unknown([Trade()]) == []
    for _ in range(30):
        clock.now_s += 1.0
        assert watch.unknown([]) == []
    exchange.positions = []
    ask(watch, clock)
    assert watch.unknown([]) == []


def test_is_known_again_when_it_is_gone(watch: Watch, exchange: Exchange, clock: Clock) -> None:
    exchange.positions = [position()]
    assert settled(watch, clock, [])
    exchange.positions = []
    ask(watch, clock, SUSPICIOUS_EVERY_S)
    assert watch.unknown([]) == []


def test_nothing_known_is_told_as_blindness(
    watch: Watch, exchange: Exchange, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert watch.is_blind
    ask(watch, clock)
    assert not watch.is_blind
    exchange.broken = True
    for _ in range(3):
        ask(watch, clock, EVERY_S)
    assert not watch.is_blind
    ask(watch, clock, BLIND_AFTER_S - 3 * EVERY_S + 0.1)
    assert watch.is_blind
    messages = [record.getMessage() for record in caplog.records]
    assert len([m for m in messages if m.startswith("positions cannot be read")]) == 1
    exchange.broken = False
    ask(watch, clock)
    assert not watch.is_blind


def test_thread_asks_at_once_and_again_soon_on_suspicion(
    exchange: Exchange, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("squeezeflow.venue.SUSPICIOUS_EVERY_S", 0.01)
    exchange.positions = [position()]
    watch = Watch(exchange, clock)
    watch.start()
    try:
        assert exchange.asked.acquire(timeout=5)
        while watch.is_blind:
            time.sleep(0.001)  # from the question to its answer
        watch.unknown([])
        assert exchange.asked.acquire(timeout=5)
    finally:
        watch.stop()
        for thread in threading.enumerate():
            if thread.name == "venue":
                thread.join(5)


def test_thread_ends_when_the_watch_is_forgotten(
    exchange: Exchange, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("squeezeflow.venue.EVERY_S", 0.01)
    watch = Watch(exchange, clock)
    watch.start()
    assert exchange.asked.acquire(timeout=5)
    del watch
    (thread,) = (t for t in threading.enumerate() if t.name == "venue")
    thread.join(5)
    assert not thread.is_alive()


def test_trade_without_a_stop_is_unprotected_once_the_grace_is_over(
    watch: Watch, clock: Clock
) -> None:
    bare = [Trade(open_sl_orders=[]), Trade(ETH)]
    assert watch.unprotected(bare) == []
    clock.now_s += GRACE_S - 0.1
    assert watch.unprotected(bare) == []
    clock.now_s += 0.1
    assert watch.unprotected(bare) == [BTC]
    assert watch.unprotected([Trade(), Trade(ETH)]) == []
    assert watch.unprotected(bare) == []


def test_trade_the_exchange_does_not_hold_is_missing_once_the_grace_is_over(
    watch: Watch, exchange: Exchange, clock: Clock
) -> None:
    trades = [Trade(), Trade(ETH, is_short=True), Trade("SOL/USDT:USDT", open_orders=[EXIT])]
    exchange.positions = [position(contracts=0.2), position(ETH, "short")]
    assert watch.missing(trades) == []
    ask(watch, clock)
    assert watch.missing(trades) == []
    clock.now_s += GRACE_S
    ask(watch, clock)
    assert watch.missing(trades) == [f"long 0.3 {BTC}"]
    exchange.positions = [position(), position(ETH, "short")]
    ask(watch, clock)
    assert watch.missing(trades) == []


def test_stop_of_no_open_trade_is_a_stray_once_the_grace_is_over(
    exchange: Exchange, clock: Clock
) -> None:
    resting = {"1": BTC, "2": ETH}
    watch = Watch(exchange, clock, stops=lambda: dict(resting))
    assert watch.stray_stops([Trade()]) == []
    ask(watch, clock)
    assert watch.stray_stops([Trade()]) == []
    clock.now_s += GRACE_S
    assert watch.stray_stops([Trade()]) == []  # only an answer that is newer counts
    ask(watch, clock)
    assert watch.stray_stops([Trade()]) == [f"2 {ETH}"]
    del resting["2"]
    ask(watch, clock)
    assert watch.stray_stops([Trade()]) == []


def test_stops_are_asked_for_pair_by_pair_where_they_are_kept_apart() -> None:
    class Api:
        def fetch_open_orders(self, pair: str, params: dict[str, Any]) -> list[dict[str, Any]]:
            assert params == {"stop": True}
            return [{"id": 7}] if pair == ETH else []

    class Freqtrade:
        def __init__(self, apart: bool) -> None:
            self._api, self._apart = Api(), apart

        def get_option(self, name: str) -> bool:
            assert name == "stoploss_query_requires_stop_flag"
            return self._apart

    assert resting_stops(Freqtrade(True), [BTC, ETH]) == {"7": ETH}
    assert resting_stops(Freqtrade(False), [BTC, ETH]) == {}


def test_nothing_bought_yet_needs_no_stop(watch: Watch, clock: Clock) -> None:
    waiting = [Trade(amount=0.0, open_sl_orders=[])]
    assert watch.unprotected(waiting) == []
    clock.now_s += GRACE_S
    assert watch.unprotected(waiting) == []


def test_stops_kept_by_freqtrade_alone_are_not_missed_on_the_exchange(
    exchange: Exchange, clock: Clock
) -> None:
    watch = Watch(exchange, clock, stops_rest=False)
    bare = [Trade(open_sl_orders=[])]
    assert watch.unprotected(bare) == []
    clock.now_s += GRACE_S
    assert watch.unprotected(bare) == []


def test_trades_of_one_pair_and_side_are_added_up() -> None:
    assert covered([Trade(amount=0.1), Trade(amount=0.2), Trade(ETH, 2, is_short=True)]) == {
        (BTC, "long"): pytest.approx(0.3),
        (ETH, "short"): 2,
    }
