"""One message when an incident begins, one when it is over."""

from __future__ import annotations

from services.core.records import Alert
from services.monitor.incidents import Finding, Incidents

NOW = 1_732_000_000.0


def finding(subject: str = "redis", hold_s: float = 0.0) -> Finding:
    return Finding(
        code="service_down", subject=subject, level="critical", text=f"{subject} is down",
        hold_s=hold_s,
    )  # fmt: skip


def test_an_incident_is_told_once_however_long_it_lasts() -> None:
    incidents = Incidents()
    told = [incidents.update([finding()], NOW + second) for second in range(100)]
    assert [len(alerts) for alerts in told] == [1] + [0] * 99
    assert told[0][0].level == "critical"
    assert told[0][0].ts_ms == int(NOW * 1000)


def test_its_end_is_told_once() -> None:
    incidents = Incidents(clear_s=15)
    incidents.update([finding()], NOW)
    told = [alert for s in range(60) for alert in incidents.update([], NOW + 60 + s)]
    assert [(alert.level, alert.code) for alert in told] == [("info", "service_down")]
    assert "redis is down" in told[0].text
    assert incidents.open == {}


def test_a_short_fault_is_not_told() -> None:
    incidents = Incidents()
    assert incidents.update([finding(hold_s=30)], NOW) == []
    assert incidents.update([finding(hold_s=30)], NOW + 29) == []
    assert incidents.update([], NOW + 30) == []
    assert incidents.update([finding(hold_s=30)], NOW + 31) == []
    assert len(incidents.update([finding(hold_s=30)], NOW + 61)) == 1


def test_a_flickering_fault_is_one_incident() -> None:
    incidents = Incidents(clear_s=15)
    told = []
    for second in range(0, 100, 5):
        present = [finding()] if second % 10 == 0 else []
        told += incidents.update(present, NOW + second)
    assert len(told) == 1


def test_M3_twenty_faults_give_twenty_messages() -> None:
    incidents = Incidents()
    faults = [finding(f"service-{i}") for i in range(20)]
    told = [alert for s in range(30) for alert in incidents.update(faults, NOW + s)]
    assert len(told) == 20
    assert len({alert.text for alert in told}) == 20


def test_incidents_told_before_a_restart_are_not_told_again_but_are_cleared() -> None:
    earlier = Alert(
        level="critical", code="service_down", text="redis is down", ts_ms=int(NOW * 1000)
    )
    incidents = Incidents(open={"service_down:redis": earlier})
    assert incidents.update([finding()], NOW + 10) == []
    incidents.update([], NOW + 20)
    assert [alert.level for alert in incidents.update([], NOW + 40)] == ["info"]
