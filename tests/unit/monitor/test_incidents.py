"""One message when an incident begins, one when it is over, and none for what follows from it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.core.records import Alert
from services.monitor.incidents import (
    FLAP_CLEAR_S,
    REMIND_AFTER_S,
    REMIND_EVERY_S,
    SETTLE_S,
    UNKNOWN_S,
    Finding,
    Incident,
    Incidents,
    span,
)

NOW = 1_732_000_000.0


def finding(subject: str = "redis", **more: Any) -> Finding:
    fields = {
        "code": "service_down", "subject": subject, "level": "critical",
        "text": f"{subject} is down", "remedy": "start it", "reading": "service_down",
    }  # fmt: skip
    return msgspec.convert({**fields, **more}, Finding)


def well(subject: str = "redis", **more: Any) -> Finding:
    return finding(subject, wrong=False, well=True, **more)


def follower(subject: str, **more: Any) -> Finding:
    """What follows from Redis being down."""
    fields = {
        "code": "service_degraded", "level": "warning", "text": f"{subject} misses Redis",
        "reading": "service_degraded", "because_of": ["service_down:redis"],
    }  # fmt: skip
    return finding(subject, **{**fields, **more})


def run(incidents: Incidents, at: float, seconds: int, *findings: Finding) -> list[Alert]:
    """The same findings each second."""
    return [a for s in range(seconds) for a in incidents.update(findings, NOW + at + s)]


def test_an_incident_is_told_once_however_long_it_lasts() -> None:
    told = [*Incidents().update([finding()], NOW), *run(Incidents(), 0, 0)]
    assert [(a.level, a.code, a.subject) for a in told] == [("critical", "service_down", "redis")]
    assert told[0].ts_ms == int(NOW * 1000)
    assert told[0].text == "redis is down; start it"
    assert len(run(Incidents(), 0, 100, finding())) == 1


def test_its_end_is_told_once_with_its_length() -> None:
    incidents = Incidents()
    incidents.update([finding()], NOW)
    (end,) = run(incidents, 60, 60, well())
    assert (end.level, end.ended_level, end.code) == ("info", "critical", "service_down")
    assert end.text == "over after 1 min 15 s: redis is down"
    assert incidents.open == {}


def test_the_end_tells_how_bad_it_was() -> None:
    incidents = Incidents()
    for second, percent in enumerate((81, 97, 85)):
        full = finding("/", text=f"{percent} % full", badness=percent)
        incidents.update([full], NOW + second)
    (end,) = run(incidents, 60, 60, well("/"))
    assert end.text == "over after 1 min 15 s: 81 % full; at its worst: 97 % full"


def test_a_short_fault_is_not_told() -> None:
    incidents = Incidents()
    assert run(incidents, 0, 30, finding(hold_s=30)) == []
    assert run(incidents, 30, 1, well(hold_s=30)) == []
    assert run(incidents, 31, 30, finding(hold_s=30)) == []
    assert len(run(incidents, 61, 1, finding(hold_s=30))) == 1


def test_how_long_it_was_so_before_counts() -> None:
    incidents = Incidents()
    assert incidents.update([finding(hold_s=30, since_s=20)], NOW) == []
    assert len(incidents.update([finding(hold_s=30, since_s=30)], NOW + 10)) == 1
    (end,) = run(incidents, 20, 60, well())
    assert end.text.startswith("over after 55 s")


def test_it_was_not_so_before_it_was_last_seen_otherwise() -> None:
    incidents = Incidents()
    run(incidents, 0, 1, well(hold_s=30))
    # As when nothing was heard of a service for an hour because its server was away.
    assert run(incidents, 1, 29, finding(hold_s=30, since_s=3600)) == []
    assert len(run(incidents, 30, 1, finding(hold_s=30, since_s=3600))) == 1


def test_a_flickering_fault_is_one_incident() -> None:
    incidents = Incidents()
    told = []
    for second in range(0, 100, 5):
        told += incidents.update([finding() if second % 10 == 0 else well()], NOW + second)
    assert len(told) == 1


def test_between_the_limits_an_incident_goes_on_and_none_begins() -> None:
    between = finding(wrong=False, well=False)
    incidents = Incidents()
    assert run(incidents, 0, 100, between) == []
    assert len(run(incidents, 100, 1, finding())) == 1
    assert run(incidents, 101, 100, between) == []
    assert len(run(incidents, 201, 16, well())) == 1


def test_M3_twenty_faults_give_twenty_messages_and_twenty_ends() -> None:
    incidents = Incidents()
    told = run(incidents, 0, 30, *(finding(f"service-{i}") for i in range(20)))
    ends = run(incidents, 30, 60, *(well(f"service-{i}") for i in range(20)))
    assert len(told) == len(ends) == 20
    assert len({alert.text for alert in told}) == len({alert.text for alert in ends}) == 20


def test_what_is_not_measured_begins_nothing_and_ends_nothing_for_a_while() -> None:
    incidents = Incidents()
    assert run(incidents, 0, 10, finding("slow", hold_s=30), finding("redis"))[0].subject == "redis"
    assert run(incidents, 10, 300) == []
    assert len(incidents.open) == 1
    (given_up,) = run(incidents, 310, int(UNKNOWN_S))
    assert given_up.ended_level == "critical"
    assert given_up.text == "given up, not measured for 10 min 0 s: redis is down"


def test_a_blind_source_ends_no_incident_of_its_own() -> None:
    full = finding(
        "redis", code="redis_memory_full", reading="redis_memory_percent", text="redis is full"
    )
    blind = finding("redis", code="monitor_blind", reading="monitor_blind", level="warning")
    incidents = Incidents()
    incidents.update([full], NOW)
    told = run(incidents, 1, int(3 * UNKNOWN_S), blind)
    assert [alert.code for alert in told] == ["monitor_blind"]
    assert "redis_memory_full:redis" in incidents.open


def test_the_more_severe_of_two_rules_on_a_reading_speaks() -> None:
    def disk(percent: float) -> list[Finding]:
        return [
            finding("/", code="nearly", reading="disk", level="warning", text=f"nearly {percent}",
                    wrong=percent > 80, well=percent <= 78),
            finding("/", code="full", reading="disk", level="critical", text=f"full {percent}",
                    wrong=percent > 95, well=percent <= 93),
        ]  # fmt: skip

    def codes(incidents: Incidents, at: int, percent: float) -> list[str]:
        return [
            f"{alert.ended_level and 'over '}{alert.code}"
            for alert in run(incidents, at, 60, *disk(percent))
        ]

    incidents = Incidents()
    assert codes(incidents, 0, 85) == ["nearly"]
    assert codes(incidents, 60, 97) == ["full"]
    assert codes(incidents, 120, 94) == []
    assert codes(incidents, 180, 90) == ["over full", "nearly"]
    assert codes(incidents, 240, 50) == ["over nearly"]
    assert codes(incidents, 300, 97) == ["full"]
    assert codes(incidents, 360, 50) == ["over full"]


def test_what_follows_from_a_fault_is_told_in_its_message() -> None:
    incidents = Incidents()
    followers = [follower(f"service-{i}") for i in range(10)]
    # The followers are seen first, and would be told at once.
    told = run(incidents, 0, 60, *followers, finding(hold_s=30))
    assert [alert.code for alert in told] == ["service_down"]
    assert "; with it: service-0 (service_degraded), " in told[0].text
    assert told[0].text.endswith(" and 2 more")
    late = follower("late")
    assert run(incidents, 60, 5, late, finding()) == []
    (end,) = run(incidents, 65, 60, *(msgspec.structs.replace(f, wrong=False, well=True)
                                      for f in (*followers, late, finding())))  # fmt: skip
    assert end.code == "service_down"
    assert end.text.endswith(" and 3 more")


def test_what_outlasts_its_cause_is_told_after_all() -> None:
    incidents = Incidents()
    run(incidents, 0, 10, follower("strategy-runner"), finding())
    told = run(incidents, 10, 300, follower("strategy-runner"), well())
    assert [(a.code, a.ended_level) for a in told] == [
        ("service_down", "critical"),
        ("service_degraded", ""),
    ]
    assert told[1].ts_ms - told[0].ts_ms == SETTLE_S * 1000


def test_what_ends_soon_after_its_cause_is_not_told() -> None:
    incidents = Incidents()
    run(incidents, 0, 10, follower("strategy-runner"), finding())
    told = run(incidents, 10, 60, follower("strategy-runner"), well())
    told += run(incidents, 70, 300, follower("strategy-runner", wrong=False, well=True), well())
    assert [a.code for a in told] == ["service_down"]


def test_two_roots_are_told_though_each_rule_names_the_other() -> None:
    both = ["service_down:redis", "service_down:influx"]
    faults = [finding(name, because_of=both) for name in ("redis", "influx", "strategy")]
    told = run(Incidents(), 0, 5, *faults)
    assert sorted(alert.subject for alert in told) == ["influx", "redis"]


def test_of_two_that_explain_each_other_one_is_told() -> None:
    first = finding("a", code="first", because_of=["second"])
    second = finding("a", code="second", because_of=["first"])
    assert len(run(Incidents(), 0, 5, first, second)) == 1


def test_a_follower_of_a_follower_is_in_the_message_of_the_root() -> None:
    blind = finding("strategy", code="blind", because_of=["service_degraded:strategy-runner"],
                    level="warning")  # fmt: skip
    (told,) = run(Incidents(), 0, 5, blind, follower("strategy-runner"), finding())
    assert told.code == "service_down"
    assert "strategy (blind)" in told.text


def test_nothing_explains_what_is_more_severe() -> None:
    mild = finding(level="warning")
    grave = follower("strategy-runner", level="critical")
    assert len(run(Incidents(), 0, 5, mild, grave)) == 2


def test_what_comes_and_goes_is_told_as_such_and_then_only_when_it_stays_well() -> None:
    incidents, told = Incidents(), []
    for minute in range(0, 30, 2):
        told += run(incidents, 60 * minute, 60, finding())
        told += run(incidents, 60 * minute + 60, 60, well())
    begins = [alert for alert in told if not alert.ended_level]
    assert len(begins) == 3
    assert len(told) == 5
    assert "it comes and goes, 3 times in 4 min 0 s" in begins[-1].text
    last = run(incidents, 1800, int(FLAP_CLEAR_S), well())
    assert [alert.ended_level for alert in last] == ["critical"]


def test_a_critical_incident_is_recalled_after_six_hours_and_then_daily() -> None:
    incidents = Incidents()
    faults = [finding(), finding("/", code="disk", level="warning")]
    hours = 80
    told = [a for h in range(0, hours * 6) for a in incidents.update(faults, NOW + h * 600)]
    recalled = [a for a in told if a.text.startswith("still so after")]
    assert len(told) == 2 + len(recalled)
    times = [(a.ts_ms / 1000 - NOW) for a in recalled]
    assert times == [REMIND_AFTER_S + n * REMIND_EVERY_S for n in range(4)]
    assert {a.level for a in recalled} == {"critical"}
    assert recalled[0].text == "still so after 6 h 0 min: redis is down; start it"


def test_incidents_told_before_a_restart_are_not_told_again_but_are_cleared() -> None:
    before = Incidents()
    before.update([finding()], NOW)
    stored = {k: msgspec.json.encode(v) for k, v in before.open.items()}
    after = Incidents(open={k: msgspec.json.decode(v, type=Incident) for k, v in stored.items()})
    assert after.update([finding()], NOW + 10) == []
    (end,) = run(after, 20, 60, well())
    assert end.text == "over after 35 s: redis is down"


def test_an_incident_stored_by_an_older_version_is_cleared() -> None:
    earlier = Alert(
        level="critical", code="service_down", text="redis is down", ts_ms=int(NOW * 1e3)
    )
    incident = msgspec.json.decode(msgspec.json.encode(earlier), type=Incident)
    (end,) = run(Incidents(open={"service_down:redis": incident}), 20, 60, well())
    assert end.text == "over after 35 s: redis is down"


def test_what_redis_keeps_is_an_alert_to_everyone_else() -> None:
    incidents = Incidents()
    (told,) = incidents.update([finding()], NOW)
    (kept,) = incidents.open.values()
    assert msgspec.json.decode(msgspec.json.encode(kept), type=Alert) == told


def test_it_says_when_there_is_something_to_keep() -> None:
    incidents = Incidents()
    incidents.update([well()], NOW)
    assert not incidents.changed
    incidents.update([finding()], NOW + 1)
    assert incidents.changed
    incidents.changed = False
    incidents.update([finding()], NOW + 2)
    assert not incidents.changed
    incidents.update([finding(badness=2.0)], NOW + 3)
    assert incidents.changed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (40, "40 s"), (312, "5 min 12 s"), (12_000, "3 h 20 min"), (187_300, "2 d 4 h")],
)
def test_lengths_of_time_are_for_people(seconds: float, text: str) -> None:
    assert span(seconds) == text
