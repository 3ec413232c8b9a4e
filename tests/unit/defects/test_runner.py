"""Faults in runner, validator and storage. The ids are those of the list of known faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import msgspec
import pytest

from aggr_server.wire import Market
from services.core import names
from services.core.records import Alert, Fill, Signal
from services.market.aggregate import Aggregator
from services.market.symbols import base_of_symbol, symbol_of
from services.signal_validator import Reason, Rejection, SignalValidator
from services.strategy.params import Params
from services.trading import baselines
from services.trading.baselines import Baseline
from services.trading.portfolio import Portfolio, symbol_of_pair
from services.trading.signals import Holding
from services.trading.symbol import SymbolTrader
from squeezeflow import rules
from tests.unit.strategy.conftest import Paused
from tests.unit.test_signal_validator import GOOD_FACTS, NOW, signal, verdict


class Kept:
    """Keeps what would be written to Redis."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[bytes | None, int]] = {}
        self.members: dict[tuple[str, str], int] = {}

    def put(self, key: str, value: bytes | None, ttl_s: int = 0, *, symbol: str = "") -> None:
        self.values[key] = (value, ttl_s)

    def member(self, key: str, value: str, ttl_s: int, *, symbol: str = "") -> None:
        self.members[key, value] = ttl_s

    def announce(self, signal: Signal) -> None: ...

    def show(self, signal: Signal) -> None: ...

    def withdraw(self, symbol: str) -> None: ...

    def count(self, name: str, by: int = 1) -> None: ...

    def status(self, symbol: str, state: str, message: dict[str, object]) -> None: ...

    def alert(self, alert: Alert) -> None: ...


def baseline_of(kept: Kept, trade_id: int) -> Baseline:
    value, ttl_s = kept.values[names.trade_baseline(trade_id)]
    assert value is not None
    assert ttl_s == 7 * 86_400
    return msgspec.json.decode(value, type=Baseline)


@pytest.fixture
def trader(paused: Callable[[str], Paused]) -> SymbolTrader:
    """In a position of S1, filled in the second of its trigger."""
    at = paused("trigger")
    at.engine.accept("id")
    at.engine.filled(at.entry.t, 7, at.entry.entry_price)
    found = SymbolTrader("BTC", Params(), "REF")
    found.engine = at.engine
    found.aggregator = Aggregator([Market("REF:btc", "REF", "BTC", "USDT", "perp")], "REF")
    found.holding = Holding(
        signal_id="id",
        setup_id=at.entry.setup_id,
        direction=1,
        leverage=3,
        entry_price=at.entry.entry_price,
        invalidation_price=at.entry.invalidation_price,
        r5=at.entry.max_deviation / 3.0,
        trade_id=7,
        opened_ms=at.entry.t * 1000,
    )
    for second in at.seconds(300):
        at.engine.step(second)
    return found


def test_D50_no_cooldown_holds_back_an_exit() -> None:
    cooling = replace(GOOD_FACTS, in_cooldown=True)
    assert verdict(signal(), cooling) == "COOLDOWN"
    assert verdict(signal(action="CLOSE"), cooling) == ""


@pytest.mark.parametrize("name", ["WETHUSDT", "ETHUSDTUSDT", "STETHUSDT"])
def test_D51_D52_symbols_are_matched_as_a_whole(name: str) -> None:
    assert base_of_symbol(symbol_of("ETH")) == "ETH"
    assert base_of_symbol(name) != "ETH"
    assert symbol_of_pair("WETH/USDT:USDT") == "WETHUSDT"
    assert symbol_of_pair("ETH/BTC") is None


def test_D53_every_entry_counts_towards_the_limit() -> None:
    v = SignalValidator()
    for i in range(10):
        one = signal(signal_id=f"i{i}", setup_id=f"s{i}", ts_ms=NOW + i * 1000)
        v.accepted(one, NOW + i * 1000)
        v.released(one)
    at = NOW + 60_000
    last = signal(signal_id="x", setup_id="x", ts_ms=at)
    assert verdict(last, replace(GOOD_FACTS, now_ms=at), v) == "RATE_LIMITED"


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"oi": {"state": "UNKNOWN"}}, {}),
        ({"context": {"env": "NEUTRAL", "k": 0.0}}, {}),
        ({"reasoning": "scales rest on 120 backfilled minutes"}, {}),
        ({"coverage": 0.85}, {"coverage": 0.85}),
        ({"stop_price": None}, {}),
        ({"score": 4.0, "position_size_factor": 0.5, "leverage": 2, "confidence": 0.0}, {}),
        ({}, {"price_age_s": 5}),
        ({}, {"last_price": 100.9}),
        ({}, {"positions": 2}),
    ],
)
def test_D54_what_is_only_remarkable_is_no_error(
    changes: dict[str, Any], facts: dict[str, Any]
) -> None:
    assert SignalValidator().check(signal(**changes), replace(GOOD_FACTS, **facts)) is None


def test_D54_a_finding_is_an_error_or_none_there_is_nothing_in_between() -> None:
    assert {f.name for f in fields(Rejection)} == {"reason", "detail"}
    assert list(Reason) == [
        "INVALID", "EXPIRED", "DUPLICATE", "LOW_SCORE", "PRICE", "DATA_QUALITY", "COOLDOWN",
        "RATE_LIMITED", "RISK_LIMIT",
    ]  # fmt: skip


def test_D55_a_repeat_at_another_price_is_a_repeat_and_a_second_close_is_none() -> None:
    v = SignalValidator()
    v.accepted(signal(), NOW)
    again = signal(signal_id="id-2", entry_price=100.1)
    assert verdict(again, v=v) == "DUPLICATE"
    v.accepted(signal(action="CLOSE", signal_id="c1"), NOW)
    assert verdict(signal(action="CLOSE", signal_id="c2"), v=v) == ""


def test_D57_symbols_share_nothing(paused: Callable[[str], Paused]) -> None:
    one, other = (SymbolTrader(base, Params(), "REF") for base in ("BTC", "ETH"))
    assert one.engine is not other.engine
    before = other.engine.view()
    one.engine = paused("DIVERGENCE").engine
    assert other.engine.view() == before


def test_D59_no_portfolio_is_made_up() -> None:
    portfolio = Portfolio(integrated=True, now_ms=lambda: NOW)
    assert portfolio.problem
    facts = replace(GOOD_FACTS, executor=portfolio.problem)
    assert verdict(signal(), facts) == "RISK_LIMIT"
    assert verdict(signal(action="CLOSE"), facts) == ""


def test_D60_the_stake_is_an_amount_and_leverage_is_not_put_on_top() -> None:
    for leverage in (1, 5):
        one = signal(position_size_factor=1.5, leverage=leverage)
        assert rules.stake(one, 100.0, 5.0, 1000.0) == 150.0


def test_D19_D61_a_fill_has_a_baseline_under_its_trade(trader: SymbolTrader) -> None:
    kept = Kept()
    fill = Fill(
        event="opened",
        signal_id="id",
        symbol="BTCUSDT",
        pair="BTC/USDT:USDT",
        side="long",
        ts_ms=NOW,
        trade_id=7,
        price=100.0,
    )
    baselines.write(kept, trader, fill)
    found = baseline_of(kept, 7)
    assert found.signal_id == "id"
    assert found.cvd_divergence == found.spot_cvd - found.futures_cvd
    assert kept.members[names.symbol_baselines("BTCUSDT"), "7"] == 7 * 86_400
    assert all(key.startswith("squeezeflow:cvd_baselines:") for key in kept.values)


def test_D39_a_baseline_lives_as_long_as_its_position(trader: SymbolTrader) -> None:
    kept = Kept()
    baselines.renew(kept, trader)
    found = baseline_of(kept, 7)
    position = trader.engine.position
    assert position is not None
    assert position.best_spot > 0.0
    assert (found.spot_cvd, found.futures_cvd) == (position.c_spot, position.c_perp)
    assert found.best_spot == position.best_spot
    assert found.side == "long"


def test_D65_a_signal_lives_five_seconds_and_its_entry_a_minute() -> None:
    one = signal()
    assert rules.is_fresh(one, NOW + 5000)
    assert not rules.is_fresh(one, NOW + 5001)
    refreshed = msgspec.structs.replace(one, refreshed_ms=NOW + 60_000)
    assert rules.is_fresh(refreshed, NOW + 60_000)
    assert not rules.is_fresh(refreshed, NOW + 60_001)
