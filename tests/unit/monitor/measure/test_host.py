"""How fast a disk fills, and what is told of the machine."""

from __future__ import annotations

import random

import pytest

from services.monitor.host import Disk, Host, HostSampler
from services.monitor.measure.host import NEVER_H, Fill, Machine, full_in_h, of_disk, of_host

GB = 1_000_000_000


def host(**changes: object) -> Host:
    figures: dict[str, object] = {
        "cpu_percent": 40.0, "memory_total_bytes": 8 * GB, "memory_available_bytes": 2 * GB,
        "swap_total_bytes": 0, "swap_used_bytes": 0, "load_1m": 3.0, "cores": 2, "disks": (),
    }  # fmt: skip
    return Host(**{**figures, **changes})  # type: ignore[arg-type]


def filled(bytes_per_h: float, minutes: int, noise: int = 0) -> Fill:
    fill, chance = Fill(), random.Random(1)
    for minute in range(minutes):
        used = 100 * GB + bytes_per_h * minute / 60 + chance.uniform(-noise, noise)
        fill.add(60.0 * minute, int(used))
    return fill


def test_the_rate_is_the_slope_whatever_the_noise() -> None:
    assert filled(3 * GB, 60).bytes_per_h == pytest.approx(3 * GB, rel=1e-6)
    assert filled(3 * GB, 60, noise=GB // 10).bytes_per_h == pytest.approx(3 * GB, rel=0.05)
    assert filled(-2 * GB, 60).bytes_per_h == pytest.approx(-2 * GB, rel=1e-6)


def test_only_the_last_hour_counts() -> None:
    fill = filled(50 * GB, 120)
    start = 120 * 60.0
    for minute in range(61):
        fill.add(start + 60.0 * minute, 200 * GB)
    assert fill.bytes_per_h == pytest.approx(0, abs=1)


def test_a_few_minutes_are_no_trend() -> None:
    assert filled(3 * GB, 10).bytes_per_h is None
    assert filled(3 * GB, 11).bytes_per_h is not None
    assert Fill().bytes_per_h is None


def test_hours_until_full() -> None:
    assert full_in_h(12 * GB, 3.0 * GB) == 4.0
    assert full_in_h(12 * GB, 0.0) == NEVER_H
    assert full_in_h(12 * GB, -3.0 * GB) == NEVER_H
    assert full_in_h(0, 3.0 * GB) == 0.0


def test_what_is_not_known_of_the_machine_is_left_out() -> None:
    assert {r.name: r.value for r in of_host(host(cpu_percent=None))} == {
        "host_memory_percent": 75.0,
        "host_load_per_core": 1.5,
    }
    found = {r.name: r.value for r in of_host(host(swap_total_bytes=4 * GB, swap_used_bytes=GB))}
    assert found["host_cpu_percent"] == 40.0
    assert found["host_swap_percent"] == 25.0


def test_a_disk_without_a_trend_yet_has_no_end() -> None:
    full = Disk(path="/", used_percent=80.0, used_bytes=80 * GB, free_bytes=20 * GB)
    assert {r.name: r.value for r in of_disk(full, None)} == {"disk_used_percent": 80.0}
    found = {r.name: r.value for r in of_disk(full, 5.0 * GB)}
    assert found == {"disk_used_percent": 80.0, "disk_full_in_h": 4.0}


async def test_the_machine_is_stored_with_its_disks() -> None:
    stored: list[str] = []
    found = await Machine(HostSampler(("/", "/none")), stored.extend).readings()
    assert {r.subject for r in found} == {"host", "/"}
    assert [text.split(" ")[0] for text in stored] == ["host_stats", "disk_stats,path=/"]
