"""D3: what a month of many markets costs InfluxDB, and how long it makes those wait who ask."""

from __future__ import annotations

import pytest

from tests.bench import month

SERIES = 5000
MEMORY_MB = 2000
ANSWERED_MS = 300


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(3600)
def test_d3_a_month_of_200_markets_takes_few_series_and_little_memory_and_answers_at_once() -> None:
    found = month.run()

    print(found)
    assert found["points"] > 30_000_000
    assert found["series"] < SERIES
    assert found["rss_mb"] < MEMORY_MB
    queries = {name: found[f"{name}_p99_ms"] for name in ("chart_4h", "cvd_4h", "query", "minutes")}
    assert max(queries.values()) < ANSWERED_MS, queries
