from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.records import Alert, Fill
from services.notify.notices import LONGEST_BODY, LONGEST_TITLE, of_alert, of_fill, plain

NOW_MS = 1_770_000_000_000


def fill(**changes: Any) -> Fill:
    values: dict[str, Any] = {
        "event": "opened",
        "signal_id": "6f1c",
        "symbol": "1000PEPEUSDT",
        "pair": "1000PEPE/USDT:USDT",
        "side": "short",
        "ts_ms": NOW_MS,
        "trade_id": 12,
        "price": 0.0123405,
        "amount": 8100.0,
        "stake": 33.3333,
        "leverage": 3.0,
    }
    return Fill(**{**values, **changes})


def test_an_entry_names_side_size_price_leverage_margin_and_trade() -> None:
    notice = of_fill(fill())
    assert notice.title == "SHORT 1000PEPEUSDT opened"
    assert notice.body == "8100 1000PEPE at 0.0123405, 3x, margin 33.33 USDT, trade 12"
    assert (notice.kind, notice.tone, notice.ts_ms) == ("opened", "info", NOW_MS)


@pytest.mark.parametrize(
    ("pnl", "ratio", "shown", "share", "tone"),
    [(4.129, 0.047, "+4.13", "+4.70", "success"), (-0.5, -0.015, "-0.50", "-1.50", "warning")],
)
def test_an_exit_names_profit_and_reason(
    pnl: float, ratio: float, shown: str, share: str, tone: str
) -> None:
    notice = of_fill(fill(event="closed", pnl=pnl, pnl_ratio=ratio, reason="sf_range_break"))
    assert notice.title == f"SHORT 1000PEPEUSDT closed, {shown} USDT"
    assert f"{share} % of the margin, range_break, trade 12" in notice.body
    assert (notice.tone, notice.pnl, notice.currency) == (tone, pnl, "USDT")


def test_a_refusal_names_its_reason_and_signal() -> None:
    notice = of_fill(fill(event="rejected", reason="halted", trade_id=None, amount=0.0))
    assert notice.title == "SHORT 1000PEPEUSDT refused: halted"
    assert notice.body == "3x at 0.0123405, signal 6f1c"


def test_simulated_money_is_marked() -> None:
    titles = [
        of_fill(fill(dry_run=True)).title,
        of_fill(fill(dry_run=True, event="closed")).title,
        of_fill(fill(dry_run=True, event="rejected", reason="halted")).title,
    ]
    assert all(title.endswith(" (dry run)") for title in titles)


def test_the_same_event_has_the_same_key_and_another_a_different_one() -> None:
    assert of_fill(fill()).key == of_fill(fill(price=1.0)).key
    keys = {
        of_fill(fill()).key,
        of_fill(fill(event="closed")).key,
        of_fill(fill(signal_id="other")).key,
        of_fill(fill(trade_id=13)).key,
    }
    assert len(keys) == 4


def test_the_end_of_an_incident_weighs_as_much_as_the_incident() -> None:
    begun = Alert(level="critical", code="disk", text="full", ts_ms=NOW_MS)
    over = Alert(level="info", code="disk", text="full", ts_ms=NOW_MS, ended_level="critical")
    assert (of_alert(begun).level, of_alert(begun).tone) == ("critical", "failure")
    assert (of_alert(over).level, of_alert(over).tone) == ("critical", "success")
    assert of_alert(begun).title == "Critical: disk"
    assert of_alert(over).title == "Over: disk"
    assert of_alert(begun).key != of_alert(over).key


def test_a_long_text_of_several_lines_becomes_one_short_line() -> None:
    text = "line\n" * 1000
    notice = of_alert(Alert(level="warning", code="c" * 500, text=text, ts_ms=NOW_MS, symbol="X"))
    assert len(notice.title) == LONGEST_TITLE
    assert len(notice.body) == LONGEST_BODY
    assert "\n" not in notice.title + notice.body
    assert notice.body.endswith(" ...")


@pytest.mark.parametrize(
    ("value", "text"),
    [(65000.5, "65000.5"), (3.0, "3"), (0.0, "0"), (1e-7, "0.0000001"), (1200.0, "1200")],
)
def test_numbers_are_plain(value: float, text: str) -> None:
    assert plain(value) == text


@given(st.floats(min_value=1e-4, max_value=1e12))
def test_a_plain_number_is_exact_to_six_digits(value: float) -> None:
    text = plain(value)
    assert "e" not in text
    assert float(text) == pytest.approx(value, rel=1e-6)
