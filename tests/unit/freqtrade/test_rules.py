"""Which signals may be executed, and with what stake, leverage and stop."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.records import Signal
from squeezeflow import rules
from tests.signals import entry_fields

NOW_MS = 1_800_000_000_000
MARKET = {"symbol": "BTCUSDT", "pair": "BTC/USDT:USDT"}


def entry(**changes: Any) -> Signal:
    """A valid long entry."""
    return Signal(**entry_fields(NOW_MS, score=6.0, max_deviation=0.003) | changes)


def close(parent: str | None) -> Signal:
    """A CLOSE signal."""
    return entry(action="CLOSE", event="EXIT", signal_id="id-2", parent_signal_id=parent)


def defect(signal: Signal, *, dry_run: bool = True) -> str | None:
    """Judged on the BTC market."""
    return rules.defect(signal, **MARKET, dry_run=dry_run)


def test_signal_survives_the_wire() -> None:
    assert rules.decode(msgspec.json.encode(entry())) == entry()


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"{}", b'{"schema":"sf.signal.v1"}', b"\xff"])
def test_garbage_is_no_signal(raw: bytes) -> None:
    with pytest.raises(rules.BadSignal):
        rules.decode(raw)


def test_signal_of_another_schema_is_refused() -> None:
    with pytest.raises(rules.BadSignal, match=r"schema is sf\.signal\.v2"):
        rules.decode(msgspec.json.encode(entry(schema="sf.signal.v2")))


def test_tag_leads_back_to_the_signal() -> None:
    assert rules.signal_id_of(rules.entry_tag("id-1")) == "id-1"


@pytest.mark.parametrize("tag", [None, "", "id-1", "sf:", "force_entry"])
def test_foreign_tag_has_no_signal(tag: str | None) -> None:
    assert rules.signal_id_of(tag) is None


@pytest.mark.parametrize(
    ("now_ms", "fresh"),
    [
        (NOW_MS, True),
        (NOW_MS + 5_000, True),
        (NOW_MS + 5_001, False),
        (NOW_MS - 5_001, False),
    ],
)
def test_entry_is_fresh_for_the_life_of_its_key(now_ms: int, fresh: bool) -> None:
    assert rules.is_fresh(entry(ttl=5), now_ms) is fresh


def test_entry_that_is_written_once_is_fresh_throughout_its_window() -> None:
    assert rules.is_fresh(entry(ttl=600), NOW_MS + 59_000)


def test_refreshed_entry_ends_with_its_window() -> None:
    signal = entry(refreshed_ms=NOW_MS + 60_000)
    assert rules.is_fresh(signal, NOW_MS + 60_000)
    assert not rules.is_fresh(signal, NOW_MS + 60_001)


def test_good_entries_have_no_defect() -> None:
    assert defect(entry()) is None
    assert defect(entry(action="SHORT", stop_price=105.0)) is None
    assert defect(entry(stop_price=None)) is None
    assert defect(entry(mode="live"), dry_run=False) is None


@pytest.mark.parametrize("changes", [{"symbol": "ETHUSDT"}, {"pair": "ETH/USDT:USDT"}])
def test_entry_for_another_market_is_foreign(changes: dict[str, str]) -> None:
    assert defect(entry(**changes)) == "foreign_market"


def test_only_live_signals_move_money() -> None:
    assert defect(entry(mode="paper"), dry_run=False) == "wrong_mode"
    assert defect(entry(mode="backtest"), dry_run=True) == "wrong_mode"


@pytest.mark.parametrize(
    "changes",
    [
        {"position_size_factor": 0.0},
        {"position_size_factor": -1.0},
        {"position_size_factor": math.inf},
        {"leverage": 0},
        {"entry_price": 0.0},
        {"entry_price": math.nan},
        {"max_deviation": 0.0},
        {"max_deviation": math.inf},
        {"stop_price": 0.0},
        {"stop_price": math.nan},
        {"stop_price": 101.0},
        {"action": "SHORT", "stop_price": 99.0},
    ],
)
def test_values_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    assert defect(entry(**changes)) == "bad_values"


@pytest.mark.parametrize(
    ("rate", "away"),
    [(100.0, False), (100.29, False), (99.71, False), (100.31, True), (99.69, True)],
)
def test_rate_may_deviate_by_the_signals_bound_either_way(rate: float, away: bool) -> None:
    assert rules.deviates(entry(), rate) is away


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_impossible_rate_deviates(rate: float) -> None:
    assert rules.deviates(entry(), rate)


@pytest.mark.parametrize(
    ("factor", "smallest", "largest", "expected"),
    [
        (1.0, 10.0, 1_000.0, 100.0),
        (0.5, 10.0, 1_000.0, 50.0),
        (1.5, None, 1_000.0, 150.0),
        (9.0, 10.0, 1_000.0, 150.0),
        (0.5, 75.0, 1_000.0, 75.0),
        (1.5, 10.0, 120.0, 120.0),
        (1.0, 10.0, 5.0, 0.0),
        (1.0, None, 0.0, 0.0),
    ],
)
def test_stake_follows_the_factor_within_limits(
    factor: float, smallest: float | None, largest: float, expected: float
) -> None:
    signal = entry(position_size_factor=factor)
    assert rules.stake(signal, 100.0, smallest, largest) == expected


@pytest.mark.parametrize(
    ("wanted", "own", "exchange", "expected"),
    [(3, 5, 125.0, 3.0), (50, 5, 125.0, 5.0), (5, 10, 2.0, 2.0), (3, 5, 0.0, 1.0)],
)
def test_leverage_is_capped_by_both_limits(
    wanted: int, own: int, exchange: float, expected: float
) -> None:
    assert rules.leverage(entry(leverage=wanted), own, exchange) == expected


def test_close_belongs_to_the_trade_of_its_parent_only() -> None:
    assert rules.closes(close("id-1"), "id-1")
    assert not rules.closes(close("id-1"), "id-3")
    assert not rules.closes(close(None), None)
    assert not rules.closes(entry(parent_signal_id="id-1"), "id-1")


def test_exit_tag_is_the_reason_in_lower_case() -> None:
    assert rules.exit_tag(entry(exit_reason="RANGE_BREAK")) == "sf_range_break"
    assert rules.exit_tag(entry()) == "sf_close"


def test_fallback_stop_is_eight_percent_but_within_half_the_margin() -> None:
    assert rules.fallback_stop(100.0, False, 3.0) == pytest.approx(100 * math.exp(-0.08))
    assert rules.fallback_stop(100.0, True, 3.0) == pytest.approx(100 * math.exp(0.08))
    assert rules.fallback_stop(100.0, False, 20.0) == pytest.approx(100 * math.exp(-0.025))


@given(
    rate=st.floats(1.0, 1e5),
    distance=st.floats(0.001, 0.3),
    leverage=st.floats(1.0, 20.0),
    is_short=st.booleans(),
)
def test_stop_ratio_gives_back_the_price_by_freqtrades_formula(
    rate: float, distance: float, leverage: float, is_short: bool
) -> None:
    stop = rate * (1 + distance if is_short else 1 - distance)
    ratio = rules.stop_ratio(stop, rate, is_short, leverage)
    by_freqtrade = rate * (1 + ratio / leverage if is_short else 1 - ratio / leverage)
    assert by_freqtrade == pytest.approx(stop, rel=1e-9)


@pytest.mark.parametrize(("stop", "is_short"), [(101.0, False), (99.0, True)])
def test_rate_beyond_the_stop_still_has_a_stop(stop: float, is_short: bool) -> None:
    assert 0 < rules.stop_ratio(stop, 100.0, is_short, 5.0) <= 0.001


@pytest.mark.parametrize(
    ("current", "is_short", "done"),
    [
        (None, False, False),
        (0.0, False, False),
        (80.0, False, False),
        (95.0, False, True),
        (96.0, False, True),
        (120.0, True, False),
        (95.0, True, True),
        (94.0, True, True),
    ],
)
def test_stop_is_set_once_it_is_at_least_as_tight(
    current: float | None, is_short: bool, done: bool
) -> None:
    assert rules.stop_is_set(current, 95.0, is_short) is done


def test_lower_fence_is_shut_out_per_symbol() -> None:
    fences = rules.Fences()
    assert fences.admits(entry(fence=2), NOW_MS)
    assert not fences.admits(entry(fence=1), NOW_MS + 1)
    assert fences.admits(entry(fence=2), NOW_MS + 2)
    assert fences.admits(entry(fence=3), NOW_MS + 3)
    assert not fences.admits(entry(fence=2), NOW_MS + 4)
    assert fences.admits(entry(fence=1, symbol="ETHUSDT"), NOW_MS + 5)


def test_fence_is_forgotten_after_ten_quiet_minutes() -> None:
    fences = rules.Fences()
    assert fences.admits(entry(fence=9), NOW_MS)
    assert not fences.admits(entry(fence=1), NOW_MS + 599_999)
    assert fences.admits(entry(fence=1), NOW_MS + 600_000)


@pytest.mark.parametrize(("risk_frac", "expected"), [(0.0, math.inf), (0.01, 10 / (3 * 0.01005))])
def test_a_stake_loses_no_more_than_allowed_up_to_the_invalidation(
    risk_frac: float, expected: float
) -> None:
    margin = rules.largest_at_risk(entry(), 3.0, 1000.0, risk_frac)
    assert margin == pytest.approx(expected, rel=1e-4)
    assert rules.stake(entry(), 100.0, 5.0, min(1000.0, margin)) == 100.0


def test_a_stake_is_reduced_or_left_out_to_keep_the_risk() -> None:
    margin = rules.largest_at_risk(entry(), 3.0, 1000.0, 0.001)
    assert 3.0 * margin * abs(math.log(99.0 / 100.0)) == pytest.approx(1.0)
    assert rules.stake(entry(), 100.0, 5.0, min(1000.0, margin)) == margin
    assert rules.stake(entry(), 100.0, 50.0, min(1000.0, margin)) == 0.0
    assert rules.largest_at_risk(entry(invalidation_price=0.0), 3.0, 1000.0, 0.001) == 0.0
