"""Positions without a stop, locks, the kill switch, signals nobody answered."""

from __future__ import annotations

from typing import Any, cast

from services.core.records import Halt
from services.freqtrade_client import FreqtradeClient, Lock, Order, ShowConfig, Trade
from services.monitor.measure.trading import (
    ANSWERED_WITHIN_S,
    Freqtrade,
    locked,
    of_switch,
    unanswered,
    without_stop,
)

NOW_MS = 1_732_000_000_000
STOP = Order(ft_order_side="stoploss", is_open=True)
LIVE = ShowConfig(dry_run=False, stoploss_on_exchange=True)


def trade(*orders: Order, pair: str = "BTC/USDT:USDT", amount: float = 0.5) -> Trade:
    return Trade(
        trade_id=7, pair=pair, is_short=False, is_open=True, open_timestamp=1, open_rate=1.0,
        amount=amount, orders=list(orders),
    )  # fmt: skip


def test_a_position_whose_stop_rests_on_the_exchange_is_well() -> None:
    assert without_stop(LIVE, [trade(Order(ft_order_side="buy"), STOP)]) == []


def test_a_position_without_an_open_stop_order_is_told() -> None:
    ended = Order(ft_order_side="stoploss", is_open=False)
    (found,) = without_stop(LIVE, [trade(Order(ft_order_side="buy"), ended)])
    assert (found.subject, found.value) == ("BTC/USDT:USDT", 1.0)
    assert found.detail == "long 0.5 (trade 7); freqtrade has placed none"


def test_stops_that_are_switched_off_are_named_as_the_cause() -> None:
    off = ShowConfig(dry_run=False, stoploss_on_exchange=False)
    assert "stoploss_on_exchange is off" in without_stop(off, [trade()])[0].detail


def test_a_trade_that_holds_nothing_yet_needs_no_stop() -> None:
    waiting = trade(Order(ft_order_side="buy", is_open=True), amount=0.0)
    assert without_stop(LIVE, [waiting]) == []


class Bot:
    """A freqtrade with a position that has no stop."""

    def __init__(self, config: ShowConfig) -> None:
        self._config = config

    async def show_config(self) -> ShowConfig:
        return self._config

    async def status(self) -> list[Trade]:
        return [trade()]

    async def locks(self) -> list[Lock]:
        return []


async def test_a_position_of_a_dry_run_puts_nothing_at_risk() -> None:
    simulated = Freqtrade(cast(FreqtradeClient, Bot(ShowConfig(dry_run=True))))
    assert await simulated.readings() == []
    live = Freqtrade(cast(FreqtradeClient, Bot(LIVE)))
    assert [r.name for r in await live.readings()] == ["position_without_stop"]


def lock(pair: str, reason: str, minutes: float = 30.0) -> Lock:
    return Lock(
        pair=pair,
        lock_timestamp=NOW_MS - 60_000,
        lock_end_timestamp=NOW_MS + int(minutes * 60_000),
        reason=reason,
    )


def test_the_longest_lock_of_a_pair_tells_why_and_for_how_long() -> None:
    found = locked(
        [lock("*", "3 stoplosses in 1440 min", 10), lock("*", "Max drawdown", 700)], NOW_MS
    )
    assert [(r.subject, r.value, r.since_s) for r in found] == [("*", 1.0, 60.0)]
    assert found[0].detail == "Max drawdown; for another 700 min"


def test_the_pause_after_each_trade_is_no_lock() -> None:
    pauses = [lock("BTC/USDT:USDT", "Cooldown period for 5 minutes."),
              lock("BTC/USDT:USDT", "Auto lock")]  # fmt: skip
    assert locked(pauses, NOW_MS) == []


def test_the_kill_switch_is_told_with_who_and_why() -> None:
    on = of_switch(
        Halt(halted=True, ts_ms=NOW_MS - 5000, by="me", reason="exchange is odd"), NOW_MS
    )
    assert (on.value, on.since_s, on.detail) == (1.0, 5.0, "halted by me: exchange is odd")
    off = of_switch(Halt(halted=False, ts_ms=NOW_MS - 5000), NOW_MS)
    assert (off.value, off.since_s, off.detail) == (0.0, 0.0, "")


def signal(age_s: float, **changes: Any) -> dict[str, Any]:
    return {
        "time": NOW_MS - int(age_s * 1000), "signal_id": "0123456789ab", "symbol": "BTCUSDT",
        "ttl_seconds": 5, "outcome": "pending", "fill_time": None, **changes,
    }  # fmt: skip


def test_a_signal_is_missed_when_its_validity_is_long_over_and_nobody_answered() -> None:
    late = ANSWERED_WITHIN_S + 6
    found = unanswered(
        [signal(late), signal(ANSWERED_WITHIN_S), signal(late, fill_time="t")], NOW_MS
    )
    assert (found.value, found.detail) == (1.0, "BTCUSDT 01234567")
    assert found.since_s == late


def test_a_longer_validity_is_waited_for() -> None:
    assert unanswered([signal(ANSWERED_WITHIN_S + 500, ttl_seconds=600)], NOW_MS).value == 0.0
    assert unanswered([], NOW_MS).value == 0.0
