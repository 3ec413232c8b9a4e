from dataclasses import replace
from typing import Any

import msgspec
import pytest

from services.core.records import Signal
from services.signal_validator import Facts, Memory, Reason, SignalValidator
from tests.signals import entry_fields

NOW = 1_700_000_000_000
GOOD_FACTS = Facts(now_ms=NOW, last_price=100.0, price_age_s=0)


def signal(**changes: Any) -> Signal:
    fields = entry_fields(
        NOW, setup_id="BTC:1:1", score=6.0, score_breakdown={"absorption_candle": 1.0},
        stop_price=98.0,
    )  # fmt: skip
    if changes.get("action") == "CLOSE":
        fields |= {"event": "EXIT", "parent_signal_id": "p", "stop_price": None}
    return msgspec.convert(fields | changes, Signal)


def verdict(s: Signal, facts: Facts = GOOD_FACTS, v: SignalValidator | None = None) -> str:
    rejection = (v or SignalValidator()).check(s, facts)
    return "" if rejection is None else rejection.reason


def test_a_sound_signal_passes() -> None:
    assert verdict(signal()) == ""
    assert verdict(signal(action="CLOSE")) == ""
    assert verdict(signal(action="SHORT", invalidation_price=101.0, stop_price=102.0)) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"score": float("nan")},
        {"entry_price": float("inf")},
        {"score_breakdown": {"absorption_candle": float("nan")}},
        {"stop_price": float("nan")},
        {"stop_price": float("inf"), "action": "SHORT", "invalidation_price": 101.0},
        {"context": {"env": "NEUTRAL", "k": float("nan")}},
        {"oi": {"state": "WEAK", "z": float("inf")}},
        {"cvd": {"spot": float("nan"), "perp": 0.0, "epoch_id": "e", "ts_ms": 1}},
        {"event": "EXIT"},
        {"action": "CLOSE", "event": "ENTRY"},
        {"action": "CLOSE", "parent_signal_id": None},
        {"symbol": "btcusdt"},
        {"symbol": "BTC/USDT"},
        {"signal_id": ""},
        {"setup_id": ""},
        {"score": 10.1},
        {"confidence": 1.1},
        {"position_size_factor": 0.7},
        {"leverage": 6},
        {"leverage": 0},
        {"invalidation_price": 100.5},
        {"stop_price": 100.5},
        {"action": "SHORT"},
    ],
)
def test_malformed_signals_are_invalid(changes: dict[str, Any]) -> None:
    assert verdict(signal(**changes)) == Reason.INVALID


def test_a_position_with_more_leverage_than_an_entry_may_have_can_be_closed() -> None:
    assert verdict(signal(leverage=20)) == Reason.INVALID
    assert verdict(signal(action="CLOSE", leverage=20)) == ""
    assert verdict(signal(action="CLOSE", leverage=0)) == Reason.INVALID


@pytest.mark.parametrize(
    ("action", "age_ms", "found"),
    [
        ("LONG", 5000, ""),
        ("LONG", 5001, "EXPIRED"),
        ("CLOSE", 60_000, ""),
        ("CLOSE", 60_001, "EXPIRED"),
    ],
)
def test_age(action: str, age_ms: int, found: str) -> None:
    assert verdict(signal(action=action, ts_ms=NOW - age_ms)) == found


def test_a_signal_is_accepted_once() -> None:
    v = SignalValidator()
    v.accepted(signal(), NOW)
    assert verdict(signal(setup_id="BTC:1:2"), v=v) == Reason.DUPLICATE
    day = replace(GOOD_FACTS, now_ms=NOW + 86_400_000)
    again = signal(setup_id="BTC:1:2", ts_ms=NOW + 86_400_000)
    assert verdict(again, day, v) == ""


def test_a_setup_gives_one_signal_unless_that_was_cancelled() -> None:
    v = SignalValidator()
    first = signal()
    v.accepted(first, NOW)
    later = replace(GOOD_FACTS, now_ms=NOW + 1_000_000)
    second = signal(signal_id="id-2", ts_ms=NOW + 1_000_000)
    assert verdict(second, later, v) == Reason.DUPLICATE
    v.released(first)
    assert verdict(second, later, v) == ""


def test_same_direction_within_fifteen_minutes_is_a_duplicate() -> None:
    v = SignalValidator()
    v.accepted(signal(), NOW)
    for after_ms, found in ((899_000, Reason.DUPLICATE), (900_000, "")):
        s = signal(signal_id="id-2", setup_id="BTC:1:9", ts_ms=NOW + after_ms)
        assert verdict(s, replace(GOOD_FACTS, now_ms=NOW + after_ms), v) == found


def test_a_second_close_of_the_symbol_passes_but_not_the_same_one() -> None:
    v = SignalValidator()
    v.accepted(signal(action="CLOSE"), NOW)
    assert verdict(signal(action="CLOSE"), v=v) == Reason.DUPLICATE
    assert verdict(signal(action="CLOSE", signal_id="id-2"), v=v) == ""


@pytest.mark.parametrize(
    ("changes", "facts", "reason"),
    [
        ({"score": 3.99}, {}, Reason.LOW_SCORE),
        ({"entry_price": 0.0}, {}, Reason.PRICE),
        ({}, {"price_age_s": 6}, Reason.PRICE),
        ({}, {"price_age_s": None}, Reason.PRICE),
        ({}, {"last_price": 101.1}, Reason.PRICE),
        ({}, {"last_price": 0.0}, Reason.PRICE),
        ({}, {"warm": False}, Reason.DATA_QUALITY),
        ({}, {"degraded": True}, Reason.DATA_QUALITY),
        ({}, {"coverage": 0.79}, Reason.DATA_QUALITY),
        ({}, {"in_cooldown": True}, Reason.COOLDOWN),
        ({}, {"positions": 3}, Reason.RISK_LIMIT),
        ({}, {"symbol_taken": True}, Reason.RISK_LIMIT),
        ({}, {"daily_loss_reached": True}, Reason.RISK_LIMIT),
        ({}, {"executor": "freqtrade away"}, Reason.RISK_LIMIT),
    ],
)
def test_rules_that_exempt_a_close(
    changes: dict[str, Any], facts: dict[str, Any], reason: str
) -> None:
    known = replace(GOOD_FACTS, **facts)
    assert verdict(signal(**changes), known) == reason
    if "entry_price" not in changes:
        assert verdict(signal(action="CLOSE", **changes), known) == ""


def test_a_close_needs_a_price() -> None:
    assert verdict(signal(action="CLOSE", entry_price=0.0)) == Reason.PRICE


def test_the_first_rule_in_the_table_decides() -> None:
    bad = replace(GOOD_FACTS, degraded=True, in_cooldown=True, positions=9)
    assert verdict(signal(), bad) == Reason.DATA_QUALITY
    assert verdict(signal(score=1.0), bad) == Reason.LOW_SCORE


def test_twenty_entries_a_minute_over_all_symbols() -> None:
    v = SignalValidator()
    for i in range(20):
        v.accepted(signal(signal_id=f"s{i}", setup_id=f"s{i}", symbol=f"A{i}USDT"), NOW + i)
    last = signal(signal_id="x", setup_id="x")
    assert verdict(last, replace(GOOD_FACTS, now_ms=NOW + 100), v) == Reason.RATE_LIMITED
    after = replace(GOOD_FACTS, now_ms=NOW + 60_000)
    assert verdict(signal(signal_id="x", setup_id="x", ts_ms=NOW + 60_000), after, v) == ""


def test_ten_entries_an_hour_in_a_symbol() -> None:
    v = SignalValidator()
    for i in range(10):
        s = signal(signal_id=f"s{i}", setup_id=f"s{i}")
        v.accepted(s, NOW + i * 300_000)
        v.released(s)
    at = NOW + 9 * 300_000 + 1000
    s = signal(signal_id="x", setup_id="x", ts_ms=at)
    assert verdict(s, replace(GOOD_FACTS, now_ms=at), v) == Reason.RATE_LIMITED
    other = signal(signal_id="x", setup_id="x", ts_ms=at, symbol="ETHUSDT")
    assert verdict(other, replace(GOOD_FACTS, now_ms=at), v) == ""


def reason_of(validator: SignalValidator, **changes: Any) -> Reason | None:
    rejection = validator.check(signal(**changes), GOOD_FACTS)
    return None if rejection is None else rejection.reason


def test_who_decides_next_goes_on_from_the_memory_of_who_decided_before() -> None:
    first, second = SignalValidator(), SignalValidator()
    first.accepted(signal(), NOW)
    stored = msgspec.json.encode(first.memory("BTCUSDT"))
    second.remember("BTCUSDT", msgspec.json.decode(stored, type=Memory))
    assert reason_of(second) is Reason.DUPLICATE
    assert reason_of(second, signal_id="id-2") is Reason.DUPLICATE
    assert reason_of(second, signal_id="id-2", setup_id="BTC:1:2") is Reason.DUPLICATE
    assert reason_of(second, signal_id="id-2", setup_id="BTC:1:2", symbol="ETHUSDT") is None


def test_the_hours_entries_are_counted_over_a_change_of_leader() -> None:
    first, second = SignalValidator(), SignalValidator()
    for i in range(10):
        first.accepted(signal(signal_id=f"e-{i}", setup_id=f"s-{i}"), NOW - 1_000_000 + i)
    second.remember("BTCUSDT", first.memory("BTCUSDT"))
    assert reason_of(second, action="SHORT", invalidation_price=101.0, stop_price=102.0) is (
        Reason.RATE_LIMITED
    )


@pytest.mark.parametrize(
    ("ended_ms", "expected"), [(30_000, None), (60_000, Reason.DUPLICATE), (None, Reason.DUPLICATE)]
)
def test_published_signals_are_recalled_and_cancelled_ones_free_again(
    ended_ms: int | None, expected: Reason | None
) -> None:
    validator = SignalValidator()
    entry = signal(ts_ms=NOW - 90_000, refreshed_ms=NOW - 90_000, valid_until_ms=NOW - 30_000)
    ended = [] if ended_ms is None else [msgspec.structs.replace(
        entry, event="CANCEL", refreshed_ms=entry.ts_ms + ended_ms)]  # fmt: skip
    validator.recall("BTCUSDT", [entry, *ended])
    assert reason_of(validator, signal_id="id-2") is expected
    assert reason_of(validator) is Reason.DUPLICATE


def test_what_is_older_than_a_day_is_forgotten() -> None:
    validator = SignalValidator()
    validator.accepted(signal(signal_id="old", setup_id="old"), NOW - 86_400_001)
    validator.accepted(signal(), NOW)
    memory = validator.memory("BTCUSDT")
    assert list(memory.ids) == ["id-1"]
    assert list(memory.setups) == ["BTC:1:1"]
    assert memory.entries == [NOW]
