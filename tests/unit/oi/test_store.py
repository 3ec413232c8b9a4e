"""The points of open interest."""

from __future__ import annotations

from services.oi.aggregate import aggregate
from services.oi.store import TOTAL_AGG, aggregate_line, venue_lines
from tests.unit.oi.samples import NOW, sample


def test_a_venue_with_one_perpetual_is_one_point() -> None:
    assert venue_lines(sample("A", 10), 0.5) == [
        "open_interest,aggregate_type=exchange,exchange=A,symbol=BTCUSDT coins=10.0,"
        'oi_change_24h=0.5,oi_change_pct=50.0,open_interest=20.0,price=2.0,raw=10.0,unit="base" '
        f"{NOW}"
    ]


def test_perpetuals_of_a_venue_with_several_are_points_of_their_own_kind() -> None:
    lines = venue_lines(sample("A", 10, X=7, Y=3), None)
    assert [line.partition(" ")[0] for line in lines] == [
        "open_interest,aggregate_type=exchange,exchange=A,symbol=BTCUSDT",
        "open_interest,aggregate_type=contract,contract=X,exchange=A,symbol=BTCUSDT",
        "open_interest,aggregate_type=contract,contract=Y,exchange=A,symbol=BTCUSDT",
    ]
    assert "coins=7.0,open_interest=14.0,price=2.0" in lines[1]
    assert "oi_change" not in "".join(lines)


def test_O1_a_partial_sum_has_no_full_figure() -> None:
    whole = aggregate({"A": sample("A", 10)}, {"A"}, {"A": "fresh"}, NOW)
    partial = aggregate({"A": sample("A", 10)}, {"A", "B"}, {"A": "fresh"}, NOW)
    assert whole is not None
    assert partial is not None
    assert ",coins=10.0," in aggregate_line("BTC", TOTAL_AGG, whole, None, NOW)
    text = aggregate_line("BTC", TOTAL_AGG, partial, None, NOW)
    assert 'missing="B",partial_coins=10.0,partial_open_interest=20.0' in text
    assert " coins=" not in text
    assert ",open_interest=" not in text.partition(" ")[2]
