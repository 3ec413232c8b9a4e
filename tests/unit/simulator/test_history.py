from __future__ import annotations

import re
from collections import defaultdict

import pytest

from aggr_server.wire import COUNT_FIELDS, FLOAT_FIELDS, TIMEFRAMES
from services.simulator import history
from services.simulator.ledger import Ledger
from services.simulator.market import Market
from services.simulator.venues import INSTRUMENTS

from .conftest import LIVE_FROM


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[str]]:
    """(retention policy, series) -> lines, of the markets of one base symbol."""
    market = Market(1, INSTRUMENTS, Ledger(tmp_path_factory.mktemp("history"), INSTRUMENTS))
    market.plan(LIVE_FROM)
    market.instruments = {m: i for m, i in market.instruments.items() if i.base == "ETH"}
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for policy, line in history.lines(market, history.compute(market)):
        found[policy, line.partition(" ")[0]].append(line)
    return found


def seconds(lines: list[str]) -> list[int]:
    return [int(line.rpartition(" ")[2]) for line in lines]


def test_the_day_before_is_complete_up_to_the_first_live_second(
    points: dict[tuple[str, str], list[str]],
) -> None:
    for instrument in INSTRUMENTS:
        if instrument.base != "ETH":
            continue
        name = instrument.market
        fine = seconds(points["aggr_1s", f"trades_1s,market={name}"])
        assert fine[-1] > LIVE_FROM - 5
        assert fine[0] < LIVE_FROM - 4 * 3600 - 35 * 60 + 5
        if instrument.quiet == 0:
            assert fine == list(range(fine[0], LIVE_FROM))
        minutes = seconds(points["aggr_1m", f"trades_1m,market={name}"])
        assert minutes == list(range(minutes[0], LIVE_FROM // 60 * 60, 60))
        assert minutes[0] < LIVE_FROM - 86_400
        assert ("", f"markets,market={name}") in points


def test_every_timeframe_holds_whole_bars_only(
    points: dict[tuple[str, str], list[str]],
) -> None:
    name = next(i.market for i in INSTRUMENTS if i.base == "ETH")
    for timeframe in TIMEFRAMES:
        times = seconds(
            points[timeframe.retention_policy, f"{timeframe.measurement},market={name}"]
        )
        assert all(t % timeframe.seconds == 0 for t in times)
        assert times[-1] + timeframe.seconds <= LIVE_FROM


def test_bars_have_the_fields_and_types_of_the_collector(
    points: dict[tuple[str, str], list[str]],
) -> None:
    lines = points["aggr_1s", next(s for p, s in points if p == "aggr_1s")]
    fields = dict(f.split("=") for f in lines[0].split(" ")[1].split(","))
    assert set(fields) == {*FLOAT_FIELDS, *COUNT_FIELDS}
    assert all(re.fullmatch(r"\d+i", fields[name]) for name in COUNT_FIELDS)
    assert all(re.fullmatch(r"[0-9.e+-]+", fields[name]) for name in FLOAT_FIELDS)


def test_open_interest_of_every_perpetual_reaches_back_a_day(
    points: dict[tuple[str, str], list[str]],
) -> None:
    series = {s: seconds(lines) for (p, s), lines in points.items() if s.startswith("open_int")}
    assert len(series) == 3
    for name, times in series.items():
        assert name.startswith("open_interest,symbol=ETHUSDT,exchange=")
        assert name.endswith(",aggregate_type=exchange")
        assert times[0] <= LIVE_FROM - 86_400 - 1800
        assert times == list(range(times[0], times[-1] + 1, 60))
        assert times[-1] >= LIVE_FROM - 60
