"""What oi-tracker says of its venues."""

from __future__ import annotations

import msgspec
import pytest

from services.core.records import Heartbeat
from services.monitor.measure.interest import failing


def beat(**details: object) -> Heartbeat:
    return Heartbeat(service="oi-tracker", ts_ms=1, pid=1, cycle_ms=1.0, details=details)


def test_every_failing_venue_is_named_with_its_reason() -> None:
    found = failing(beat(failing={"BYBIT": "BTC: 403", "OKX": "no answer"}, samples=3))
    assert [(r.subject, r.value, r.detail) for r in found] == [
        ("BYBIT", 1.0, "BTC: 403"),
        ("OKX", 1.0, "no answer"),
    ]
    assert failing(beat(failing={})) == []


def test_what_is_no_list_of_venues_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        failing(beat(failing=["BYBIT"]))
