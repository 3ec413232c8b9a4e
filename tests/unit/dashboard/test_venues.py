"""Volume by venue over three lengths of time."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from services.dashboard.venues import LONGEST_S, Venue, VenueSums

BEGIN = 1_795_352_400 + 17
SPOT, PERP = ("COINBASE", "spot"), ("BYBIT", "perp")


def expected(
    told: dict[int, dict[Venue, tuple[float, float]]], since: int, to_s: int
) -> dict[Venue, tuple[float, float]]:
    sums: dict[Venue, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for t in range(since, to_s):
        for venue, (buy, sell) in told.get(t, {}).items():
            sums[venue][0] += buy
            sums[venue][1] += sell
    return {venue: (buy, sell) for venue, (buy, sell) in sums.items() if buy + sell > 0.0}


def test_windows_are_the_sums_of_their_seconds_also_after_amendments() -> None:
    rng = random.Random(1)
    sums, told = VenueSums(), {}
    for t in range(BEGIN, BEGIN + LONGEST_S + 1_000):
        sums.reach(t)
        volumes = {v: (rng.random(), rng.random()) for v in (SPOT, PERP) if rng.random() < 0.7}
        told[t] = volumes
        sums.put(t, volumes)
        if rng.random() < 0.1:
            late = t - rng.randrange(300)
            if late >= BEGIN:
                told[late] = {SPOT: (rng.random(), 0.0)}
                sums.put(late, told[late])

    for length, (since, rows) in sums.windows().items():
        assert 0 <= sums.end - length - since < 60
        assert length == LONGEST_S or since == sums.end - length
        wanted = expected(told, since, sums.end)
        assert {venue for venue, *_ in rows} == wanted.keys()
        for venue, buy, sell in rows:
            assert (buy, sell) == pytest.approx(wanted[venue], rel=1e-9)


def test_the_largest_venue_comes_first_and_one_without_volume_not_at_all() -> None:
    sums = VenueSums()
    sums.reach(BEGIN)
    sums.put(BEGIN, {SPOT: (1.0, 1.0), PERP: (2.0, 1.0), ("OKEX", "perp"): (0.0, 0.0)})

    assert [venue for venue, *_ in sums.windows()[60][1]] == [PERP, SPOT]


def test_minutes_read_back_count_only_before_the_seconds_that_are_kept() -> None:
    sums = VenueSums()
    sums.reach(BEGIN)
    old, new = (BEGIN - 3_600) // 60 * 60, (BEGIN - 120) // 60 * 60
    sums.put(new, {SPOT: (5.0, 0.0)})

    sums.put_minutes(old, BEGIN, {old: {SPOT: (1.0, 0.0)}, new: {SPOT: (100.0, 0.0)}})

    assert sums.windows()[LONGEST_S][1] == [(SPOT, 6.0, 0.0)]


def test_what_has_grown_too_old_falls_out() -> None:
    sums = VenueSums()
    sums.reach(BEGIN)
    sums.put(BEGIN, {SPOT: (1.0, 0.0)})

    sums.reach(BEGIN + 900)
    assert [bool(rows) for _, rows in sums.windows().values()] == [False, False, True]
    sums.reach(BEGIN + LONGEST_S + 60)
    assert not any(rows for _, rows in sums.windows().values())
