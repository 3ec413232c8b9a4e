"""Signals as the page lists them."""

from __future__ import annotations

from typing import Any

import pytest

from services.core.records import Signal
from services.dashboard.signals import _status, _stored_row, row_of
from tests.signals import entry_fields


def signal(**fields: Any) -> Signal:
    given = entry_fields(
        5, signal_id="a", refreshed_ms=6, valid_until_ms=7, max_deviation=0.002, stop_price=None,
        score_breakdown={"absorption_candle": 2.5}, confidence=0.65, coverage=0.9, reasoning="why",
    )  # fmt: skip
    return Signal(**given | fields)


def test_an_entry_has_what_became_of_it() -> None:
    row = row_of(signal(), "profitable")

    assert (row.signal_id, row.ts_ms, row.action, row.status) == ("a", 5, "LONG", "profitable")
    assert (row.stop_price, row.parts) == (None, {"absorption_candle": 2.5})


def test_an_exit_has_no_outcome_of_its_own() -> None:
    assert row_of(signal(event="EXIT", action="CLOSE"), "pending").status == ""
    assert row_of(signal(event="CANCEL"), "cancelled").status == "cancelled"


@pytest.mark.parametrize(
    ("outcome", "trade_id", "status"),
    [
        ("pending", None, "pending"),
        ("pending", 7, "opened"),
        ("profitable", 7, "profitable"),
        (None, None, ""),
    ],
)
def test_a_signal_whose_trade_is_open_was_opened(
    outcome: str | None, trade_id: int | None, status: str
) -> None:
    assert _status({"outcome": outcome, "trade_id": trade_id}) == status


def test_what_is_stored_is_shown_as_far_as_it_is_known() -> None:
    nothing = dict.fromkeys(
        ("cvd_reset_deceleration", "absorption_candle", "failed_breakdown", "directional_bias",
         "oi_confirmation", "invalidation_price", "stop_price", "reasoning", "outcome", "trade_id")
    )  # fmt: skip
    stored = {
        **nothing, "signal_id": "a", "time": 5, "action": "SHORT", "score": 6.5,
        "entry_price": 100.0, "absorption_candle": 2.5,
    }  # fmt: skip

    row = _stored_row("BTCUSDT", stored)

    assert (row.event, row.action, row.ts_ms, row.status) == ("ENTRY", "SHORT", 5, "")
    assert (row.parts, row.invalidation_price) == ({"absorption_candle": 2.5}, None)
    closed = _stored_row("BTCUSDT", {**stored, "action": "CLOSE", "outcome": "pending"})
    assert (closed.event, closed.status) == ("EXIT", "")
