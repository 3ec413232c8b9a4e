"""What is read of points that are only half there, as they are while they are being written."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import cast

import pytest

from aggr_server.influx import InfluxClient, InfluxUnavailable
from aggr_server.points import bar_line, gap_line
from aggr_server.wire import TIMEFRAMES, Bar, Gap, Market
from services.dashboard.audience import Audience
from services.dashboard.faults import GapList
from services.dashboard.protocol import Gaps
from services.dashboard.trouble import Troubles
from services.market.history import History
from services.market.markets import Directory

NOW = int(time.time())
MARKET = Market("BYBIT:BTCUSDT", "BYBIT", "BTC", "USDT", "perp")
BAR = Bar(NOW, MARKET.market, 10.0, 12.0, 9.0, 11.0, 100.0, 50.0, 3, 2, 0.0, 7.0)
ONE_SECOND = TIMEFRAMES[0].retention_policy


@pytest.mark.parametrize("field", ["from_s", "to_s"])
async def test_a_gap_that_is_being_written_is_asked_for_again(
    influx: InfluxClient, field: str
) -> None:
    history, gap = History(influx), Gap(MARKET.market, NOW, NOW + 5, "down")
    await influx.write([f"gaps,market={MARKET.market},reason=down {field}={NOW}i {NOW}"])
    with pytest.raises(InfluxUnavailable, match="is being written"):
        await history.gaps([MARKET], NOW - 10, NOW + 10)
    await influx.write([gap_line(gap)])
    assert await history.gaps([MARKET], NOW - 10, NOW + 10) == [gap]


async def test_the_page_too_asks_for_such_a_gap_again(influx: InfluxClient) -> None:
    gap, troubles = Gap(MARKET.market, NOW, NOW + 5, "down"), Troubles(lambda: NOW * 1000)
    shown: list[Gaps] = []
    audience = SimpleNamespace(symbols={"BTCUSDT"}, show=shown.append)
    directory = Directory(["BTC"])
    directory.update([MARKET])
    block = GapList(
        cast(Audience, audience),
        influx,
        directory,
        {"BTCUSDT": "BTC"},
        troubles,
        lambda: NOW * 1000,
    )
    await influx.write([f"gaps,market={MARKET.market},reason=down from_s={NOW}i {NOW}"])
    await block.round()
    assert (shown, list(troubles.message().problems)) == ([], ["InfluxDB"])
    await influx.write([gap_line(gap)])
    await block.round()
    assert [(row.from_s, row.to_s) for row in shown[0].rows] == [(NOW, NOW + 5)]
    assert troubles.message().problems == {}


@pytest.mark.parametrize("field", ["close", "vsell"])
async def test_a_bar_that_is_being_written_is_not_there_yet(
    influx: InfluxClient, field: str
) -> None:
    history, line = History(influx), bar_line(BAR)
    half = ",".join(part for part in line.split(",") if not part.startswith(f"{field}="))
    assert half != line
    await influx.write([half], retention_policy=ONE_SECOND)
    assert await history.bars([MARKET], NOW, NOW + 1) == []
    await influx.write([line], retention_policy=ONE_SECOND)
    assert await history.bars([MARKET], NOW, NOW + 1) == [BAR]


async def test_a_minute_that_is_being_written_is_not_there_yet(influx: InfluxClient) -> None:
    history, start, line = History(influx), NOW // 60 * 60, bar_line(BAR)
    await influx.write([line.replace("open=10.0,", "")], retention_policy=ONE_SECOND)
    asked = ([MARKET], MARKET, start, start + 60)
    assert (await history.newest_table(*asked)).prices == {}
    await influx.write([line], retention_policy=ONE_SECOND)
    assert (await history.newest_table(*asked)).prices == {start: (10.0, 12.0, 9.0, 11.0)}
