from __future__ import annotations

from typing import Any

import pytest

from aggr_server.wire import Gap
from services.core.settings import StrategySettings
from services.explain.compare import Comparison, Row, compare
from services.explain.decision import on_candles, parameters
from services.explain.replay import Rebuilt
from services.explain.store import Stored
from services.strategy.params import Params

T = 1_795_000_000


def record(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "t": T,
        "state": "RESET",
        "price": 100.0,
        "c_spot": 5e6,
        "minutes": 1681,
        "context": {"environment": "NEUTRAL", "k": 0.4},
        "score": {"total": 6.3, "trigger": {"held_s": 5, "spot": True}},
        "reset": {"peak_t": T - 100, "tests": 2, "f_spot": 1e6},
        "params": {"min_score": 4.0},
    }
    return {**values, **changes}


def judged(recorded: dict[str, Any], rebuilt: dict[str, Any], **found: Any) -> Comparison:
    signal = Stored(
        signal_id="abcd", symbol="BTCUSDT", action="LONG", ts_ms=T * 1000, t=T, decision=recorded
    )
    return compare(signal, Rebuilt(Params(), t=T, record=rebuilt, **found))


def row(found: Comparison, name: str) -> Row:
    return next(each for each in found.rows if each.name == name)


def test_equal_records_come_out_the_same() -> None:
    found = judged(record(), record())
    assert found.verdict == "same"
    assert found.causes == []


def test_levels_of_the_cvd_are_not_compared() -> None:
    found = judged(record(), record(c_spot=-3.0))
    assert found.verdict == "same"
    assert row(found, "c_spot").equality == "not compared"


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"context": {"environment": "NEUTRAL", "k": 0.44}}, True),
        ({"context": {"environment": "NEUTRAL", "k": 0.46}}, False),
        ({"context": {"environment": "LONG_SQUEEZE", "k": 0.4}}, False),
        ({"price": 100.9}, True),
        ({"price": 101.2}, False),
        ({"reset": {"peak_t": T - 98, "tests": 2, "f_spot": 1e6}}, True),
        ({"reset": {"peak_t": T - 97, "tests": 2, "f_spot": 1e6}}, False),
        ({"reset": {"peak_t": T - 100, "tests": 3, "f_spot": 1e6}}, False),
        ({"reset": {"peak_t": T - 100, "tests": 2, "f_spot": 1.02e6}}, False),
        ({"score": {"total": 6.3, "trigger": {"held_s": 5, "spot": False}}}, False),
        ({"score": None}, False),
        ({"minutes": 1680}, False),
    ],
)
def test_tolerances(change: dict[str, Any], same: bool) -> None:
    found = judged(record(), record(**change))
    assert (found.verdict == "same") is same
    assert same or found.causes


def test_a_decision_some_seconds_off_is_close() -> None:
    signal = Stored(
        signal_id="a", symbol="BTCUSDT", action="LONG", ts_ms=T * 1000, t=T, decision=record()
    )
    found = compare(signal, Rebuilt(Params(), t=T + 3, record=record()))
    assert found.verdict == "close"
    assert "3 s later" in found.sentence


def test_no_decision_is_different_and_says_where_the_symbol_stood() -> None:
    signal = Stored(
        signal_id="a", symbol="BTCUSDT", action="LONG", ts_ms=T * 1000, t=T, decision=record()
    )
    found = compare(signal, Rebuilt(Params(), record=record(state="COOLDOWN")))
    assert found.verdict == "different"
    assert "in COOLDOWN" in found.sentence


def test_an_exit_for_another_reason_is_different() -> None:
    signal = Stored(
        signal_id="a", symbol="BTCUSDT", action="CLOSE", ts_ms=T * 1000, t=T, decision=record(),
        exit_reason="RANGE_BREAK",
    )  # fmt: skip
    found = compare(signal, Rebuilt(Params(), t=T, kind="CVD_TREND", record=record()))
    assert found.verdict == "different"
    assert "CVD_TREND" in found.sentence


def test_causes_name_what_is_known_of_the_difference() -> None:
    gaps = [Gap("VENUE:x", T - 50, T - 20, "restart")]
    without = {key: value for key, value in record().items() if key != "params"}
    found = judged(
        without,
        record(price=200.0, minutes=900),
        gaps=gaps,
        first_s=T - 600,
        wanted_first_s=T - 14_400,
    )
    said = " ".join(found.causes)
    for part in ("no longer stored", "1681 minutes", "VENUE:x had a gap", "today's settings"):
        assert part in said


def test_recorded_parameters_win_over_todays() -> None:
    decision = {"params": {"min_score": 5.5, "div_windows": [30, 15], "unheard_of": 1}}
    found = parameters(decision, Params(min_score=3.0))
    assert found.min_score == 5.5
    assert found.div_windows == (30, 15)
    assert parameters({}, Params(min_score=3.0)).min_score == 3.0


def entry(signal_id: str, decision: dict[str, Any], **values: Any) -> Stored:
    given = {"symbol": "BTCUSDT", "action": "LONG", "ts_ms": T * 1000, "t": T, **values}
    return Stored(signal_id=signal_id, decision=decision, **given)


@pytest.mark.parametrize("today", [True, False])
def test_whether_candles_were_used_is_taken_from_the_entry_record(today: bool) -> None:
    settings = StrategySettings(squeezeflow_backfill=today)
    on, off, silent = (entry("on", record(backfilled_minutes=7)), entry("off", record()),
                       entry("silent", {}))  # fmt: skip
    assert on_candles(on, [on], settings)
    assert not on_candles(off, [off], settings)
    assert on_candles(silent, [silent], settings) == today
    for opened, expected in ((on, True), (off, False), (silent, today)):
        close = entry("close", record(), action="CLOSE", parent_signal_id=opened.signal_id)
        assert on_candles(close, [opened, close], settings) == expected


def test_other_filled_minutes_than_then_are_a_cause() -> None:
    then, now = record(backfilled_minutes=120), record(backfilled_minutes=60)
    found = judged(then, now, filled=tuple(range(T, T + 3600, 60)))
    assert row(found, "backfilled_minutes").equality == "differs"
    assert "120 minutes were filled from candles then, 60 are now." in found.causes
