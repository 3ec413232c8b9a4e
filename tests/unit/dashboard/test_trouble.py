"""What cannot be read, one problem for each server."""

from __future__ import annotations

from aggr_server.influx import InfluxUnavailable
from services.dashboard.trouble import LONGEST, Troubles


def test_a_server_is_in_trouble_until_all_can_read_from_it() -> None:
    troubles = Troubles(lambda: 5)
    troubles.note("Redis", "alerts", ConnectionError("refused"))
    troubles.note("Redis", "signals", ConnectionError("refused"))
    troubles.note("Redis", "alerts", None)
    assert troubles.message().problems == {"Redis": "refused"}

    troubles.note("Redis", "signals", None)
    assert troubles.message().problems == {}


def test_a_problem_has_a_text_in_any_case_and_never_too_long_a_one() -> None:
    troubles = Troubles(lambda: 5)
    troubles.note("InfluxDB", "gaps", InfluxUnavailable())
    troubles.note("freqtrade", "trades", "x" * 5_000)
    troubles.note("Redis", "bars", "")

    assert troubles.message().problems == {
        "InfluxDB": "InfluxUnavailable",
        "freqtrade": "x" * LONGEST,
    }
