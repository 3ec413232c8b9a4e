"""What counts as an incident."""

from __future__ import annotations

from services.core.settings import SystemMonitorSettings
from services.monitor.rules import findings
from services.monitor.states import ServiceState, State, overview
from services.monitor.usage import Disk, Host


def host(used_percent: float = 10.0) -> Host:
    disk = Disk(path="/", used_percent=used_percent, free_bytes=5_000_000_000)
    return Host(
        cpu_percent=1, memory_total_bytes=2, memory_available_bytes=1, swap_used_bytes=0,
        load_1m=0.1, disks=(disk,),
    )  # fmt: skip


def found(
    states: dict[str, State], used_percent: float = 10.0, started: bool = True
) -> dict[str, float]:
    services = {
        name: ServiceState(state=state, age_ms=None, detail="broken", remedy="mend it")
        for name, state in states.items()
    }
    settings = SystemMonitorSettings(alert_down_s=30, alert_start_s=180, alert_disk_percent=80)
    by_heartbeat = {"oi-tracker"}.__contains__
    at_work = set(states) if started else set()
    seen = findings(overview(services, 0), host(used_percent), by_heartbeat, at_work, settings)
    return {finding.key: finding.hold_s for finding in seen}


def test_a_service_that_is_down_is_found_and_held_for_a_while() -> None:
    assert found({"redis": "down", "freqtrade": "up"}) == {"service_down:redis": 30}


def test_a_service_that_is_still_starting_is_given_longer() -> None:
    assert found({"redis": "down"}, started=False) == {"service_down:redis": 180}


def test_a_missing_heartbeat_has_a_name_of_its_own() -> None:
    assert found({"oi-tracker": "down"}) == {"heartbeat_missing:oi-tracker": 30}


def test_less_than_down_wakes_nobody() -> None:
    assert found({"redis": "degraded"}) == {}


def test_a_disk_is_found_above_the_limit_only() -> None:
    assert found({}, used_percent=80.0) == {}
    assert found({}, used_percent=80.5) == {"disk:/": 0}
