import pytest

from services.market.bars import ClosedBars
from services.trading.cycle import Intake


@pytest.mark.parametrize(
    ("data", "run", "cycles"),
    [
        (1, 1, [[t] for t in range(12)]),
        (1, 4, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
        (3, 1, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]),
        (3, 4, [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9, 10, 11]]),
    ],
)
def test_bars_are_taken_and_decided_on_at_their_intervals(
    data: int, run: int, cycles: list[list[int]]
) -> None:
    intake = Intake(data, run)
    found = [[c.t for c in due] for t in range(12) if (due := intake.add(ClosedBars(t, {})))]
    assert found == cycles
