from __future__ import annotations

from collections.abc import Callable

import pytest

from services.trading.stages import KEPT, Stages, spread


class Watch:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def second(stages: Stages, watch: Watch, t: int, *ms: float) -> None:
    """Let second `t` pass: ms from the arrival until it is taken, decided and written."""
    marks: list[Callable[[], object]] = [
        lambda: stages.taken(t, t),
        stages.decided,
        stages.written,
    ]
    stages.arrived(1.5)
    for wait_ms, mark in zip(ms, marks, strict=True):
        watch.s += wait_ms / 1000
        mark()


def test_each_part_is_measured_from_the_end_of_the_one_before() -> None:
    watch = Watch()
    stages = Stages(watch)
    second(stages, watch, 7, 2.0, 5.0, 1.0)
    medians = {part: spread["median"] for part, spread in stages.figures().items()}
    assert medians == pytest.approx(
        {"bus": 1.5, "assemble": 2.0, "decide": 5.0, "write": 1.0, "second": 8.0}
    )


def test_jitter_is_the_distance_from_a_second_after_the_one_before() -> None:
    watch = Watch()
    stages = Stages(watch)
    for t, pause_s in ((7, 0.0), (8, 1.03), (9, 0.96), (20, 11.0)):
        watch.s += pause_s
        stages.taken(t, t)
    watch.s += 1.0
    stages.taken(21, 25)
    assert stages.figures()["jitter"] == {"count": 2, "median": 40.0, "p99": 40.0, "max": 40.0}


def test_a_turn_without_bars_is_no_second() -> None:
    watch = Watch()
    stages = Stages(watch)
    second(stages, watch, 7, 2.0, 5.0, 1.0)
    watch.s += 3.0
    stages.written()
    assert stages.figures()["second"]["count"] == stages.figures()["write"]["count"] == 1


def test_a_signal_counts_from_the_publication_of_its_bars() -> None:
    stages = Stages()
    stages.signalled(5_000, 5_012)
    stages.signalled(0, 5_012)
    assert stages.figures()["signal"] == {"count": 1, "median": 12.0, "p99": 12.0, "max": 12.0}


def test_memory_is_bounded() -> None:
    stages = Stages()
    for _ in range(2 * KEPT):
        stages.arrived(1.0)
    assert stages.figures()["bus"]["count"] == KEPT
    assert len(stages._fresh["bus"]) == KEPT


def test_the_latest_figures_are_those_since_they_were_last_asked_for() -> None:
    stages = Stages()
    for ms in (1.0, 2.0, 9.0):
        stages.arrived(ms)
    assert stages.latest() == {"bus": {"median": 2.0, "p99": 9.0}}
    assert stages.latest() == {}
    stages.arrived(4.0)
    assert stages.latest() == {"bus": {"median": 4.0, "p99": 4.0}}
    assert stages.figures()["bus"]["count"] == 4


def test_percentiles_are_values_that_occurred() -> None:
    assert spread([]) == {}
    assert spread(map(float, range(100))) == {"count": 100, "median": 50.0, "p99": 99.0, "max": 99}
