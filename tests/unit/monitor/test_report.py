"""The health check's text: services, incidents, limits, each with cause and remedy."""

from __future__ import annotations

from typing import Any

from services.monitor.incidents import Finding, Incident
from services.monitor.report import report, text
from services.monitor.states import Overview, ServiceState, State, overview


def seen(**states: State) -> Overview:
    services = {
        name.replace("_", "-"): ServiceState(
            state=state,
            age_ms=None if state == "down" else 1500,
            detail="cannot connect" if state == "down" else "well",
            remedy="start it" if state == "down" else "",
        )
        for name, state in states.items()
    }
    return overview(services, 400_000)


def lines(overview: Overview, *known: Any) -> list[str]:
    return text(report(overview, *(known or ({}, [])))).splitlines()


def incident(level: Any = "critical", **more: Any) -> Incident:
    return Incident(
        level=level,
        code="disk_full",
        subject="/data",
        text="/data is 97 % full; free space",
        what="/data is 97 % full",
        reading="disk_used_percent",
        ts_ms=100_000,
        began_ms=88_000,
        **more,
    )


def finding(code: str = "clock_off", subject: str = "host", **more: Any) -> Finding:
    values = {
        "reading": code,
        "level": "warning",
        "text": "the clock is 900 ms off",
        "remedy": "run chrony",
    }
    return Finding(code=code, subject=subject, **{**values, **more})


def test_all_up_is_one_line_for_each_service() -> None:
    assert lines(seen(aggr_server="up", strategy_runner="up", aggr_influx="up", redis="up")) == [
        "System Health: HEALTHY",
        "redis: UP",
        "influxdb: UP",
        "strategy_runner: UP",
        "aggr_server: UP",
    ]


def test_what_is_down_is_explained() -> None:
    assert lines(seen(redis="up", freqtrade="down")) == [
        "System Health: DEGRADED",
        "redis: UP",
        "freqtrade: DOWN",
        "  cause: cannot connect",
        "  remedy: start it",
    ]


def test_when_nothing_runs_the_way_to_start_is_named() -> None:
    assert "./scripts/up.sh" in lines(seen(redis="down", freqtrade="down"))[-1]


def test_the_service_that_the_others_need_is_named_first() -> None:
    shown = lines(seen(freqtrade="up", redis="down"), None, None, "Incidents are not known.")
    assert shown[1] == "redis: DOWN"
    assert shown[-2:] == [
        "Begin with redis: the other services need it.",
        "Incidents are not known.",
    ]


def test_an_open_incident_degrades_a_system_whose_services_are_all_up() -> None:
    assert lines(seen(redis="up"), {"disk_full:/data": incident()}, []) == [
        "System Health: DEGRADED",
        "redis: UP",
        "Open incidents:",
        "/data: CRITICAL disk_full, for 5 min 12 s",
        "  cause: /data is 97 % full",
        "  remedy: free space",
    ]


def test_an_alert_about_a_service_stands_with_the_service() -> None:
    told = Incident(
        level="critical",
        code="service_down",
        subject="freqtrade",
        text="freqtrade is down: cannot connect; start it; with it: BYBIT (feed_down)",
        what="freqtrade is down: cannot connect",
        reading="service_down",
        ts_ms=390_000,
        began_ms=360_000,
        with_it=("BYBIT (feed_down)",),
    )
    known: tuple[Any, Any] = {"service_down:freqtrade": told}, []
    assert lines(seen(redis="up", freqtrade="down"), *known)[2:] == [
        "freqtrade: DOWN",
        "  cause: cannot connect",
        "  remedy: start it",
        "  alert: CRITICAL service_down, for 40 s",
        "  with it: BYBIT (feed_down)",
    ]
    # It works again, but has not for long enough.
    assert lines(seen(redis="up", freqtrade="up"), *known)[2:] == [
        "freqtrade: UP",
        "Open incidents:",
        "freqtrade: CRITICAL service_down, for 40 s",
        "  cause: freqtrade is down: cannot connect",
        "  remedy: start it",
        "  with it: BYBIT (feed_down)",
    ]


def test_an_open_info_degrades_nothing() -> None:
    shown = lines(seen(redis="up"), {"disk_full:/data": incident("info")}, [])
    assert shown[0] == "System Health: HEALTHY"
    assert shown[3].startswith("/data: INFO disk_full")


def test_what_is_over_its_limit_is_told_before_it_is_an_incident() -> None:
    assert lines(seen(redis="up"), {}, [finding(), finding(subject="other", wrong=False)]) == [
        "System Health: HEALTHY",
        "redis: UP",
        "Over a limit, not for long enough to be told:",
        "host: WARNING clock_off",
        "  cause: the clock is 900 ms off",
        "  remedy: run chrony",
    ]


def test_of_rules_on_one_reading_the_most_severe_speaks() -> None:
    both = [
        finding("clock_off", reading="clock_offset_ms"),
        finding("clock_wrong", reading="clock_offset_ms", level="critical"),
    ]
    shown = lines(seen(redis="up"), {}, both)
    assert [line for line in shown if line.startswith("host:")] == ["host: CRITICAL clock_wrong"]


def test_nothing_is_told_twice() -> None:
    told = {"disk_full:/data": incident()}
    findings = [
        finding("disk_full", "/data", reading="disk_used_percent"),
        finding("disk_nearly_full", "/data", reading="disk_used_percent"),
        finding("feed_down", "BYBIT", because_of=("disk_full",)),
        finding("feed_gap", "BYBIT", because_of=("disk_full:/data",)),
        finding("service_down", "redis", reading="service_down"),
    ]
    assert not [line for line in lines(seen(redis="up"), told, findings) if "Over a limit" in line]
    elsewhere = finding("feed_down", "BYBIT", because_of=("disk_full:/other",))
    assert "BYBIT: WARNING feed_down" in lines(seen(redis="up"), told, [elsewhere])
