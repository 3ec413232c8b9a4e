from __future__ import annotations

import numpy as np
import pytest

from services.simulator import bars
from services.simulator.instruments import Instrument
from services.simulator.trades import Batch

SPOT = Instrument("X:A", "A", "USD", "spot", "A", 2, 3, 1.0, 5.0)


def batch() -> Batch:
    return Batch(
        np.array([0, 0, 0, 61]),
        np.array([1, 2, 999, 5]),
        np.array([True, False, True, False]),
        np.array([10_000, 9_990, 10_020, 10_050]),
        np.array([1_000, 2_000, 500, 4_000]),
        np.array([False, True, False, False]),
    )


def test_a_second_is_reduced_to_its_bar() -> None:
    found = bars.of_trades(batch(), SPOT)
    assert found.time.tolist() == [0, 61]
    assert [getattr(found, n)[0] for n in ("open", "high", "low", "close")] == [
        100.0, 100.2, 99.9, 100.2,
    ]  # fmt: skip
    assert found.vbuy[0] == pytest.approx(100.0 + 50.1)
    assert found.vsell[0] == pytest.approx(199.8)
    assert found.lsell[0] == pytest.approx(199.8)
    assert (found.cbuy[0], found.csell[0], found.lbuy[0]) == (2, 1, 0.0)


def test_longer_bars_are_aligned_to_the_epoch_not_to_the_anchor() -> None:
    found = bars.rolled_up(bars.of_trades(batch(), SPOT), 60, anchor=1_000_030)
    # 1,000,030 lies 10 seconds into its minute and 1,000,091 in the next but one.
    assert (found.time + 1_000_030).tolist() == [1_000_020, 1_000_080]
    assert found.cbuy.tolist() == [2, 0]


def test_cutting_and_joining_are_inverse() -> None:
    found = bars.of_trades(batch(), SPOT)
    again = bars.joined([bars.cut(found, 0, 10), bars.cut(found, 10, 100)])
    assert again.close.tolist() == found.close.tolist()
