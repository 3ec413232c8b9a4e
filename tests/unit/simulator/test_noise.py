from __future__ import annotations

import numpy as np
import pytest

from services.simulator import noise


def test_a_value_depends_on_nothing_but_its_key_and_index() -> None:
    key = noise.stream(1, "x")
    whole = noise.uniform(key, np.arange(-1000, 1000))
    assert noise.uniform(key, np.array([-7]))[0] == whole[993]
    assert noise.uniform(key, np.array([512]))[0] == whole[1512]


def test_streams_of_other_labels_and_seeds_are_unrelated() -> None:
    index = np.arange(20_000)
    streams = [noise.centred(noise.stream(s, label), index) for s in (1, 2) for label in ("a", "b")]
    correlation = np.corrcoef(streams) - np.eye(4)
    assert np.abs(correlation).max() < 0.03


def test_centred_noise_has_zero_mean_and_unit_variance() -> None:
    values = noise.centred(noise.stream(3, "x"), np.arange(200_000))
    assert values.mean() == pytest.approx(0.0, abs=0.01)
    assert values.std() == pytest.approx(1.0, abs=0.01)


def test_drifting_noise_never_jumps() -> None:
    values = noise.drifting(noise.stream(1, "x"), np.arange(-600, 600), 120)
    assert np.abs(np.diff(values)).max() < 2 * 12**0.5 / 120
