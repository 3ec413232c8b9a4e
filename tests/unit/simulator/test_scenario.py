from __future__ import annotations

from itertools import pairwise

from services.simulator.model import HISTORY_S
from services.simulator.scenario import PLOTS, TRIGGER, Script


def script(seed: int = 1) -> Script:
    return Script(seed, "BTC", begin=-HISTORY_S, first_trigger=35, first_direction=1)


def test_the_first_squeeze_triggers_when_it_is_told_to() -> None:
    first = script().next_trigger(-HISTORY_S)
    assert (first.start, first.direction, first.plot) == (35, 1, "squeeze")


def test_segments_follow_each_other_without_a_gap() -> None:
    segments = script().between(-HISTORY_S, 200_000)
    assert segments[0].start == -HISTORY_S
    assert all(a.end == b.start for a, b in pairwise(segments))


def test_the_script_is_the_same_however_it_is_read() -> None:
    forward, at_once = script(), script()
    read = [forward.at(second) for second in range(0, 100_000, 500)]
    assert at_once.at(99_500) == read[-1]
    assert at_once.at(12_000) == read[24]


def test_every_plot_is_played_in_both_directions_sooner_or_later() -> None:
    played = {(s.plot, s.direction) for s in script().between(0, 1_000_000)}
    assert {(plot, d) for plot in PLOTS for d in (1, -1)} <= played


def test_a_failure_never_comes_to_a_trigger() -> None:
    assert TRIGGER not in [step.name for step in PLOTS["failure"]]
