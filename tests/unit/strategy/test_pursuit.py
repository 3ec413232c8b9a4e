"""A divergence followed through many seconds at once, against each second alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from services.strategy.types import Transition
from tests.unit.strategy.skipping import HASTY, SECONDS, compare, seconds


@pytest.mark.parametrize("seed", range(4))
def test_a_divergence_is_skipped_across_minutes_until_it_ends(seed: int) -> None:
    wave = 6.0 * np.sin(np.arange(SECONDS) / 150.0)
    events, skipped = compare(seconds(seed, wave, -wave), HASTY, [3840])
    ended = Counter(
        e.reason for e in events if isinstance(e, Transition) and e.previous == "DIVERGENCE"
    )
    assert sum(ended.values()) > 2
    assert skipped["DIVERGENCE"] > 60


def test_a_divergence_is_skipped_across_minutes_before_the_longest_window_is_loaded() -> None:
    params = replace(HASTY, ctx_windows=(1, 5, 240), ctx_weights=(0.5, 0.5, 0.4))
    wave = 6.0 * np.sin(np.arange(SECONDS) / 150.0)
    events, skipped = compare(seconds(0, wave, -wave), params, [3840])
    assert any(isinstance(e, Transition) and e.state == "DIVERGENCE" for e in events)
    assert skipped["DIVERGENCE"] > 60


def test_a_context_that_turns_in_a_divergence_ends_it_in_the_same_second() -> None:
    ended: Counter[str] = Counter()
    for seed in range(6):
        wave = 6.0 * np.sin(np.arange(SECONDS) / 90.0)
        events, _ = compare(seconds(seed, wave, -wave), HASTY, [3840])
        moves = (e for e in events if isinstance(e, Transition) and e.previous == "DIVERGENCE")
        ended += Counter(e.reason for e in moves)
    assert ended["context"] > 0


def test_a_context_that_turns_in_an_untrusted_second_ends_a_divergence_in_the_next() -> None:
    lost = tuple((i, 1) for i in range(59, SECONDS, 60))
    ended: Counter[int] = Counter()
    for seed in range(6):
        wave = 6.0 * np.sin(np.arange(SECONDS) / 90.0)
        events, _ = compare(seconds(seed, wave, -wave, lost), HASTY, [3840])
        ended += Counter(
            e.t % 60 for e in events if isinstance(e, Transition) and e.reason == "context"
        )
    assert ended.keys() == {0}
