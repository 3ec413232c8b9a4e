"""The health check's text, and the page."""

from __future__ import annotations

from services.monitor.report import text
from services.monitor.states import Overview, ServiceState, State, overview
from services.monitor.web import page


def made(**states: State) -> Overview:
    services = {
        name.replace("_", "-"): ServiceState(
            state=state,
            age_ms=None if state == "down" else 1500,
            detail="cannot connect" if state == "down" else "well",
            remedy="start it" if state == "down" else "",
        )
        for name, state in states.items()
    }
    return overview(services, 1)


def test_all_up_is_one_line_for_each_service() -> None:
    report = text(made(aggr_server="up", strategy_runner="up", aggr_influx="up", redis="up"))
    assert report.splitlines() == [
        "System Health: HEALTHY",
        "redis: UP",
        "influxdb: UP",
        "strategy_runner: UP",
        "aggr_server: UP",
    ]


def test_what_is_down_is_explained() -> None:
    assert text(made(redis="up", freqtrade="down")).splitlines() == [
        "System Health: DEGRADED",
        "redis: UP",
        "freqtrade: DOWN",
        "  cause: cannot connect",
        "  remedy: start it",
    ]


def test_when_nothing_runs_the_way_to_start_is_named() -> None:
    assert "./scripts/up.sh" in text(made(redis="down", freqtrade="down"))


def test_the_page_lists_every_service_and_escapes_what_it_shows() -> None:
    service = ServiceState(state="down", age_ms=1500, detail="<script>alert(1)</script>")
    shown = page(overview({"redis": service}, 1))
    assert "<td>redis</td>" in shown
    assert "1.5 s" in shown
    assert "<script>" not in shown
    assert "unknown" in page(None)
