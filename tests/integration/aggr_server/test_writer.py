"""From the spool into a real InfluxDB that is killed, frozen, not set up, or refuses."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aggr_server import clock
from aggr_server.influx import InfluxClient
from aggr_server.points import gap_line
from aggr_server.settings import Connections
from aggr_server.spool import Spool
from aggr_server.wire import FORCED_ORDERS_ONLY, Bar, ClosedSecond, Gap, Market
from aggr_server.writer import LOOK_AGAIN_S, WATCHED_S, Writer
from services import influx_init
from services.core.settings import InfluxSchemaSettings
from tests.integration.aggr_server.process import eventually
from tests.integration.servers import InfluxServer


def bar(second: int, market: str = "A:x", price: float = 1.0) -> Bar:
    return Bar(second, market, price, price, price, price, 2.0, 3.0, 1, 1, 0.0, 0.0)


def closed(
    second: int, *bars: Bar, amended: list[Bar] | None = None, gaps: list[Gap] | None = None
) -> ClosedSecond:
    return ClosedSecond("c", "e", 1, second, 0, None, list(bars), amended or [], gaps or [])


async def stored(influx: InfluxClient, market: str = "A:x") -> dict[int, float]:
    rows = await influx.query(f"SELECT close FROM aggr_1s.trades_1s WHERE market = '{market}'")
    return {row["time"]: row["close"] for row in rows}


async def recorded(influx: InfluxClient) -> set[Gap]:
    rows = await influx.query("SELECT * FROM gaps")
    return {Gap(r["market"], r["from_s"], r["to_s"], r["reason"]) for r in rows}


@pytest.fixture
def now_s() -> int:
    """A second that InfluxDB still keeps."""
    return int(time.time()) - 2000


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool.open(tmp_path / "spool", 64 << 20)
    yield made
    made.close()


@asynccontextmanager
async def running(writer: Writer) -> AsyncIterator[None]:
    task = asyncio.create_task(writer.run())
    try:
        async with asyncio.timeout(40):
            yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_bars_gaps_and_markets_are_stored(
    influx: InfluxClient, spool: Spool, now_s: int
) -> None:
    writer = Writer(influx, spool, batch=2)
    for n in range(5):
        gaps = [Gap("A:x", now_s, now_s + n, "start")]
        spool.append(closed(now_s + n, bar(now_s + n), gaps=gaps))
    writer.add_markets([Market("A:x", "A", "BTC", "USDT", "spot")], now_s)
    assert await writer.flush()
    assert sorted(await stored(influx)) == list(range(now_s, now_s + 5))
    assert await recorded(influx) == {Gap("A:x", now_s, now_s + 4, "start")}
    (market,) = await influx.query("SELECT * FROM markets")
    assert (market["base"], market["quote"], market["kind"]) == ("BTC", "USDT", "spot")
    assert (writer.backlog, writer.points_written) == (0, 7)


async def test_an_amended_bar_replaces_the_stored_one(
    influx: InfluxClient, spool: Spool, now_s: int
) -> None:
    writer = Writer(influx, spool)
    spool.append(closed(now_s, bar(now_s, price=1.0)))
    await writer.flush()
    spool.append(closed(now_s + 1, amended=[bar(now_s, price=2.0)]))
    await writer.flush()
    assert await stored(influx) == {now_s: 2.0}


async def test_a_gap_that_was_filled_is_recorded_as_empty(
    influx: InfluxClient, spool: Spool, now_s: int
) -> None:
    writer = Writer(influx, spool)
    for to_s in (now_s + 9, now_s):
        spool.append(closed(to_s, gaps=[Gap("A:x", now_s, to_s, "disconnect")]))
        await writer.flush()
    assert await recorded(influx) == {Gap("A:x", now_s, now_s, "disconnect")}


async def test_a_point_that_never_fits_is_a_gap_and_the_rest_is_stored(
    influx: InfluxClient, spool: Spool, now_s: int, caplog: pytest.LogCaptureFixture
) -> None:
    # Types of fields are fixed per shard: whoever wrote a text there has spoiled an hour for us.
    await influx.write([f'trades_1s,market=A:3 close="text" {now_s}'], retention_policy="aggr_1s")
    writer = Writer(influx, spool)
    for second in (now_s - 50_000, now_s):
        spool.append(closed(second, *(bar(second, f"A:{n}") for n in range(8))))
    assert await writer.flush()
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "field type conflict" in record.getMessage()
    refused = {f"A:{n}" for n in range(8)} - {
        f"A:{n}" for n in range(8) if now_s in await stored(influx, f"A:{n}")
    }
    assert refused
    assert await recorded(influx) == {Gap(m, now_s, now_s + 1, "refused") for m in refused}
    assert writer.points_refused == len(refused)
    for n in range(8):
        assert now_s - 50_000 in await stored(influx, f"A:{n}")


async def test_bars_that_are_too_old_to_be_kept_do_not_block_the_others(
    influx: InfluxClient, spool: Spool, now_s: int
) -> None:
    writer = Writer(influx, spool)
    old_s = now_s - 40 * 86400
    spool.append(closed(old_s, bar(old_s)))
    spool.append(closed(now_s, bar(now_s)))
    assert await writer.flush()
    assert await stored(influx) == {now_s: 1.0}
    assert writer.points_refused >= 1


async def test_a_missing_database_keeps_the_bars(
    connections: Connections, spool: Spool, now_s: int, caplog: pytest.LogCaptureFixture
) -> None:
    other = Connections(influx_port=connections.influx_port, influx_database="nobody_made_it")
    async with InfluxClient(other) as lost:
        writer = Writer(lost, spool)
        spool.append(closed(now_s, bar(now_s)))
        assert not await writer.flush()
        assert (writer.backlog, writer.points_refused) == (1, 0)
    assert "run influx-init" in caplog.text


async def test_a_wrong_login_keeps_the_bars(
    tmp_path: Path, spool: Spool, now_s: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = InfluxServer(tmp_path / "secured", auth=True)
    server.start()
    try:
        settings = InfluxSchemaSettings(influx_port=server.port, influx_password="right")
        influx_init.ensure_user(settings, report=lambda _: None)
        with influx_init.connect(settings) as client:
            influx_init.apply_schema(client, settings, report=lambda _: None)
        spool.append(closed(now_s, bar(now_s)))
        wrong = Connections(influx_port=server.port, influx_password="wrong")
        async with InfluxClient(wrong) as influx:
            writer = Writer(influx, spool)
            assert not await writer.flush()
            assert (writer.backlog, writer.points_refused) == (1, 0)
            assert "INFLUX_PASSWORD" in caplog.text
        async with InfluxClient(settings) as influx:
            assert await Writer(influx, spool).flush()
            assert await stored(influx) == {now_s: 1.0}
    finally:
        server.stop()


async def test_how_long_nobody_collected_is_found_out_before_the_first_bar(
    influx: InfluxClient, spool: Spool, now_s: int
) -> None:
    lines = [f"trades_1s,market={m} close=1.0 {s}" for m, s in (("A:x", now_s), ("B:y", 1))]
    lines += [f"trades_1s,market=B:y close=1.0 {now_s - 30}"]
    await influx.write(lines[:1] + lines[2:], retention_policy="aggr_1s")
    writer = Writer(influx, spool)
    writer.look_back(["A:x", "B:y", "C:new"], now_s + 20)
    spool.append(closed(now_s + 21, bar(now_s + 21)))
    assert await writer.flush()
    found = [
        Gap("A:x", now_s - 1, now_s + 20, "down"),
        Gap("B:y", now_s - 1, now_s + 20, "down"),
    ]
    assert writer.take_down_gaps() == found
    assert writer.take_down_gaps() == []
    assert await recorded(influx) == set(found)


async def test_of_markets_that_had_different_collectors_each_is_judged_by_itself(
    influx: InfluxClient, spool: Spool, now_s: int
) -> None:
    times = {"A:x": now_s - 30, "B:y": now_s}
    lines = [f"trades_1s,market={m} close=1.0 {s}" for m, s in times.items()]
    # Somebody else still collects it.
    lines += [f"trades_1s,market=B:y close=1.0 {now_s + 21}"]
    await influx.write(lines, retention_policy="aggr_1s")
    writer = Writer(influx, spool)
    writer.look_back(["A:x", "B:y"], now_s + 20, apart=True)
    assert await writer.flush()
    assert writer.take_down_gaps() == [
        Gap("A:x", now_s - 31, now_s + 20, "down"),
        Gap("B:y", now_s - 1, now_s + 20, "down"),
    ]
    assert writer.take_left_gaps() == []


async def test_gaps_that_another_collector_has_left_are_taken_over(
    influx: InfluxClient, spool: Spool, now_s: int
) -> None:
    left = Gap("A:x", now_s - 50, now_s - 40, "disconnect")
    fetched = Gap("A:x", now_s - 70, now_s - 70, "disconnect")
    others = Gap("B:y", now_s - 50, now_s - 40, "disconnect")
    forced = Gap("A:x", now_s - 30, now_s - 20, FORCED_ORDERS_ONLY)
    await influx.write([gap_line(gap) for gap in (left, fetched, others, forced)])
    writer = Writer(influx, spool)
    writer.look_back(["A:x"], now_s)
    assert await writer.flush()
    assert writer.take_left_gaps() == [left]
    assert writer.take_left_gaps() == []


async def test_a_gap_that_a_former_collector_records_when_it_ends_is_taken_over_too(
    influx: InfluxClient, spool: Spool, now_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed_s = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: passed_s[0])
    before = Gap("A:x", now_s - 50, now_s - 40, "disconnect")
    await influx.write([gap_line(before)])
    writer = Writer(influx, spool)
    writer.look_back(["A:x"], now_s - 20, apart=True)
    assert await writer.flush()
    assert writer.take_left_gaps() == [before]
    # It may end at the very second at which this one has begun.
    at_its_end = Gap("A:x", now_s - 21, now_s - 20, "disconnect")
    others = Gap("B:y", now_s - 10, now_s - 9, "disconnect")
    await influx.write([gap_line(gap) for gap in (at_its_end, others)])
    looks = {1.0: [], LOOK_AGAIN_S: [at_its_end], WATCHED_S: [at_its_end], 2 * WATCHED_S: []}
    for passed_s[0], found in looks.items():
        assert await writer.flush()
        assert writer.take_left_gaps() == found


async def test_a_gap_that_is_just_being_written_is_asked_for_again(
    influx: InfluxClient, spool: Spool, now_s: int
) -> None:
    left = Gap("A:x", now_s - 50, now_s - 40, "disconnect")
    half = gap_line(left).replace(f",to_s={left.to_s}i", "")
    assert half != gap_line(left)
    await influx.write([half])
    writer = Writer(influx, spool)
    writer.look_back(["A:x"], now_s)
    assert not await writer.flush()
    await influx.write([gap_line(left)])
    assert await writer.flush()
    assert writer.take_left_gaps() == [left]


@pytest.fixture
async def fragile(own_influx: InfluxServer) -> AsyncIterator[InfluxClient]:
    settings = InfluxSchemaSettings(influx_port=own_influx.port)
    with influx_init.connect(settings) as client:
        influx_init.apply_schema(client, settings, report=lambda _: None)
    async with InfluxClient(settings, timeout_s=1.0) as client:
        yield client


@pytest.mark.parametrize("way", ["killed", "frozen"])
async def test_c3_c4_an_outage_loses_nothing(
    fragile: InfluxClient,
    own_influx: InfluxServer,
    spool: Spool,
    now_s: int,
    caplog: pytest.LogCaptureFixture,
    way: str,
) -> None:
    writer = Writer(fragile, spool, flush_s=0.05)
    async with running(writer):
        spool.append(closed(now_s, bar(now_s)))
        writer.wake()
        await eventually(lambda: not writer.backlog)
        (own_influx.kill if way == "killed" else own_influx.pause)()
        for second in range(now_s + 1, now_s + 400):
            spool.append(closed(second, bar(second)))
            writer.wake()
            await asyncio.sleep(0.002)
        await eventually(lambda: not writer.connected)
        assert writer.backlog == 399
        (own_influx.start if way == "killed" else own_influx.resume)()
        await eventually(lambda: not writer.backlog)
    assert sorted(await stored(fragile)) == list(range(now_s, now_s + 400))
    assert len([r for r in caplog.records if "influxdb away" in r.getMessage()]) == 1


async def test_c4_a_refusal_of_a_moment_is_survived(
    fragile: InfluxClient, own_influx: InfluxServer, spool: Spool, now_s: int
) -> None:
    writer = Writer(fragile, spool, flush_s=0.05)
    async with running(writer):
        for round_ in range(3):
            own_influx.kill()
            spool.append(closed(now_s + round_, bar(now_s + round_)))
            writer.wake()
            await eventually(lambda: not writer.connected)
            own_influx.start()
            await eventually(lambda: not writer.backlog)
    assert sorted(await stored(fragile)) == [now_s, now_s + 1, now_s + 2]


async def test_c3_300_markets_are_caught_up_without_starving_the_loop(
    influx: InfluxClient, tmp_path: Path, now_s: int
) -> None:
    spool = Spool.open(tmp_path / "large", 1 << 30)
    try:
        names = [f"EXCHANGE_{n % 20}:market-{n}" for n in range(300)]
        for second in range(now_s, now_s + 300):
            bars = [bar(second, name, 12345.678 + second % 10) for name in names]
            spool.append(closed(second, *bars))
        writer = Writer(influx, spool)
        longest = 0.0
        started = last = time.perf_counter()
        task = asyncio.create_task(writer.flush())
        while not task.done():
            await asyncio.sleep(0)
            longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
        took = time.perf_counter() - started
        assert await task
        assert writer.backlog == 0
        (row,) = await influx.query("SELECT count(close) FROM aggr_1s.trades_1s")
        assert row["count"] == 300 * 300
        print(f"{took:.1f} s, longest turn of the loop {longest * 1000:.0f} ms")
        assert took < 60
        assert longest < 0.5
    finally:
        spool.close()


async def test_what_does_not_fit_is_recorded_when_influxdb_comes_back(
    fragile: InfluxClient, own_influx: InfluxServer, tmp_path: Path, now_s: int
) -> None:
    spool = Spool.open(tmp_path / "small", 1 << 20)
    try:
        writer = Writer(fragile, spool)
        own_influx.kill()
        for second in range(now_s, now_s + 1500):
            spool.append(closed(second, *(bar(second, f"A:{n}") for n in range(12))))
        assert not await writer.flush()
        lost = spool.given_up
        assert lost > 100
        own_influx.start()
        assert await writer.flush()
        assert spool.alarm == ""
    finally:
        spool.close()
    assert sorted(await stored(fragile, "A:7")) == list(range(now_s + lost, now_s + 1500))
    expected = {Gap(f"A:{n}", now_s, now_s + lost, "overflow") for n in range(12)}
    assert await recorded(fragile) == expected
