"""What is told of a service."""

from __future__ import annotations

from services.monitor.measure.services import judged
from services.monitor.states import ServiceState, State


def told(state: State, *, seen: bool, age_ms: int | None = None) -> dict[str, tuple[float, float]]:
    service = ServiceState(state=state, age_ms=age_ms, detail="why", remedy="mend it")
    return {r.name: (r.value, r.since_s) for r in judged("redis", service, seen=seen)}


def test_a_service_that_was_at_work_and_is_down_is_down_since_its_last_work() -> None:
    assert told("down", seen=True, age_ms=40_000) == {
        "service_down": (1.0, 40.0),
        "service_not_started": (0.0, 0.0),
        "service_degraded": (0.0, 0.0),
    }


def test_a_service_never_seen_at_work_is_not_down_but_not_started() -> None:
    assert told("down", seen=False) == {
        "service_not_started": (1.0, 0.0),
        "service_degraded": (0.0, 0.0),
    }


def test_a_service_that_works_in_part_is_degraded_only() -> None:
    assert told("degraded", seen=True) == {
        "service_down": (0.0, 0.0),
        "service_not_started": (0.0, 0.0),
        "service_degraded": (1.0, 0.0),
    }


def test_cause_and_remedy_go_with_what_is_wrong() -> None:
    service = ServiceState(state="down", age_ms=None, detail="why", remedy="mend it")
    wrong = next(r for r in judged("redis", service, seen=True) if r.value)
    assert (wrong.detail, wrong.remedy) == ("why", "mend it")
