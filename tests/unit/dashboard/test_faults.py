"""Gaps as the page lists them."""

from __future__ import annotations

from aggr_server.wire import Gap
from services.dashboard.faults import GAPS_S, MOST_GAPS, rows_of

NOW = 1_795_400_000


def test_the_newest_gap_comes_first_and_says_whether_it_goes_on() -> None:
    gaps = [
        Gap("BYBIT:btcusdt", NOW - 600, NOW - 500, "disconnect"),
        Gap("OKEX:btcusdt", NOW - 60, NOW - 1, "silence"),
    ]

    rows = rows_of(gaps, NOW)

    assert [(row.market, row.open) for row in rows] == [
        ("OKEX:btcusdt", True),
        ("BYBIT:btcusdt", False),
    ]


def test_gaps_that_were_filled_or_ended_long_ago_are_none() -> None:
    filled = Gap("A", NOW - 60, NOW - 60, "disconnect")
    old = Gap("B", NOW - GAPS_S - 90, NOW - GAPS_S, "disconnect")
    reaching = Gap("C", NOW - GAPS_S - 90, NOW - GAPS_S + 1, "disconnect")

    assert [row.market for row in rows_of([filled, old, reaching], NOW)] == ["C"]


def test_the_list_is_bounded() -> None:
    gaps = [Gap("A", NOW - i - 1, NOW, "disconnect") for i in range(MOST_GAPS + 50)]

    rows = rows_of(gaps, NOW)

    assert len(rows) == MOST_GAPS
    assert rows[0].from_s == NOW - 1
