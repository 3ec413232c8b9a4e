"""oi-tracker against venues behind a gateway, a real Redis and a real InfluxDB."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from aggr_server.influx import InfluxClient
from aggr_server.wire import MARKETS_KEY, Market
from services import influx_init
from services.core import names
from services.core.outage import Outage
from services.core.records import Alert, OpenInterest, OpenInterestTotal
from services.core.rounds import Stuck
from services.core.settings import InfluxSchemaSettings
from services.oi import poller as poller_module
from services.oi.tracker import Tracker
from services.oi.venues import VENUES, VenueClient
from tests.integration.oi_venues import Gateway, eventually, serving
from tests.integration.servers import InfluxServer, RedisServer

DAY_MS = 86_400_000
ASKED = ("BINANCE_FUTURES", "BYBIT", "OKX", "DERIBIT")


@pytest.fixture
async def venues() -> AsyncIterator[Gateway]:
    async with serving() as gateway:
        yield gateway


class Asking:
    """A tracker of its own clients; `go` lets every venue answer once and stores what came."""

    def __init__(
        self, gateway: Gateway, redis: Redis, influx: InfluxClient, asked: Sequence[str] = ASKED,
        bases: Sequence[str] = ("BTC", "ETH"),
    ) -> None:  # fmt: skip
        self.clients = [VenueClient(VENUES[name], gateway.url) for name in asked]
        outage = Outage("Redis", "test")
        self.tracker = Tracker(bases, self.clients, redis, influx, interval_s=0, outage=outage)

    async def go(self) -> None:
        await asyncio.gather(*(poller.turn() for poller in self.tracker.pollers))
        await self.tracker.round()

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self.clients))


@pytest.fixture
async def asking(venues: Gateway, redis: Redis, influx: InfluxClient) -> AsyncIterator[Asking]:
    created = Asking(venues, redis, influx)
    yield created
    await created.close()


async def points(
    influx: InfluxClient, symbol: str = "BTCUSDT", kind: str = ""
) -> dict[str, dict[str, Any]]:
    """By exchange, the newest point of a symbol; contracts by `exchange/contract`."""
    rows = await influx.query(f"SELECT * FROM open_interest WHERE symbol = '{symbol}'")
    return {
        "/".join(filter(None, (row["exchange"], row.get("contract")))): row
        for row in rows
        if kind in ("", row["aggregate_type"])
    }


async def sums(influx: InfluxClient, exchange: str) -> list[dict[str, Any]]:
    """The points of a sum of BTC, oldest first."""
    rows = await influx.query(f"SELECT * FROM open_interest WHERE exchange = '{exchange}'")
    return [row for row in rows if row["symbol"] == "BTCUSDT"]


async def total_of(redis: Redis, base: str = "BTC") -> OpenInterestTotal:
    data = await redis.get(names.open_interest_total(base))
    assert data is not None
    return msgspec.json.decode(data, type=OpenInterestTotal)


async def alerts_of(redis: Redis) -> list[Alert]:
    entries: Any = await redis.xrange(names.ALERTS_STREAM)
    return [msgspec.json.decode(fields[b"data"], type=Alert) for _, fields in entries]


async def test_O2_every_venue_is_stored_one_sided_and_published(
    asking: Asking, redis: Redis, influx: InfluxClient
) -> None:
    async with redis.pubsub() as subscriber:
        await subscriber.subscribe(names.OI_CHANNEL)
        await asking.go()
        announced: list[OpenInterest] = []
        while len(announced) < 8:
            message = await subscriber.get_message(ignore_subscribe_messages=True, timeout=5)
            if message is not None:
                announced.append(msgspec.json.decode(message["data"], type=OpenInterest))
    assert asking.tracker.status == "ok"
    stored = await points(influx)
    expected = {"BINANCE_FUTURES": 100, "BYBIT": 200, "OKX": 300, "DERIBIT": 40}
    assert {name: stored[name]["coins"] for name in expected} == expected
    assert stored["BYBIT"]["open_interest"] == 200 * 50_000
    assert stored["BYBIT"]["raw"] is None
    assert stored["BYBIT/BTCUSDT"]["raw"] == 360
    assert stored["BYBIT/BTCUSD"]["raw"] == 2_000_000
    assert (stored["BYBIT/BTCUSD"]["coins"], stored["BYBIT/BTCUSD"]["unit"]) == (20, "usd")
    assert (stored["OKX"]["raw"], stored["OKX"]["unit"]) == (30_000, "contracts")
    assert stored["DERIBIT"]["unit"] == "usd"
    for kind in ("FUTURES_AGG", "TOTAL_AGG"):
        assert stored[kind]["coins"] == 640
        assert stored[kind]["open_interest"] == 640 * 50_000
        assert stored[kind]["aggregate_type"] == kind
        assert stored[kind]["venues"] == "BINANCE_FUTURES,BYBIT,DERIBIT,OKX"
    assert {row.get("oi_change_24h") for row in stored.values()} <= {None}
    assert (await points(influx, "ETHUSDT"))["OKX"]["coins"] == 3000

    table = await redis.hgetall(names.open_interest("BTC"))
    samples = [msgspec.json.decode(value, type=OpenInterest) for value in table.values()]
    assert {sample.exchange: sample.coins for sample in samples} == expected
    assert sorted(s.exchange for s in announced if s.base == "BTC") == sorted(expected)
    total = await total_of(redis)
    assert (total.coins, total.usd, total.missing) == (640, 640 * 50_000, [])
    assert {share.exchange: share.coins for share in total.venues} == expected


async def test_many_symbols_are_asked_for_at_once(asking: Asking, venues: Gateway) -> None:
    await asking.go()
    assert venues.requests.count("www.okx.com/api/v5/public/open-interest") == 1
    assert venues.requests.count("api.bybit.com/v5/market/tickers") == 2


async def test_O1_one_failing_venue_neither_stops_the_others_nor_moves_the_sum(
    asking: Asking, venues: Gateway, influx: InfluxClient, redis: Redis
) -> None:
    await asking.go()
    venues.failing.add("api.bybit.com")
    await asking.go()
    assert "BYBIT" in str(asking.tracker.details["failing"])
    for kind in ("FUTURES_AGG", "TOTAL_AGG"):
        rows = await sums(influx, kind)
        assert [row["coins"] for row in rows] == [640, 640]
        assert rows[-1]["carried"] == "BYBIT"
    total = await total_of(redis)
    assert [share.exchange for share in total.venues if share.carried] == ["BYBIT"]
    counts = await influx.query(
        "SELECT count(coins) AS n FROM open_interest WHERE aggregate_type = 'exchange' "
        "GROUP BY exchange"
    )
    stored = {row["exchange"]: row["n"] for row in counts}
    assert (stored["BINANCE_FUTURES"], stored["BYBIT"]) == (4, 2)
    venues.failing.clear()
    await asking.go()
    assert asking.tracker.details["failing"] == {}
    assert (await sums(influx, "TOTAL_AGG"))[-1]["carried"] == ""


async def test_O1_a_venue_that_never_answered_makes_the_sum_partial(
    asking: Asking, venues: Gateway, influx: InfluxClient, redis: Redis
) -> None:
    venues.failing.add("www.okx.com")
    await asking.go()
    stored = await points(influx)
    for kind in ("FUTURES_AGG", "TOTAL_AGG"):
        assert stored[kind].get("open_interest") is None
        assert stored[kind].get("coins") is None
        assert stored[kind]["partial_open_interest"] == 340 * 50_000
        assert stored[kind]["missing"] == "OKX"
    total = await total_of(redis)
    assert (total.coins, total.missing) == (340, ["OKX"])
    assert b"OKX" not in await redis.hgetall(names.open_interest("BTC"))


async def test_O1_a_venue_that_hangs_delays_nobody(
    asking: Asking, venues: Gateway, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    venues.hanging.add("api.bybit.com")
    stop = asyncio.Event()
    tracker = asking.tracker

    async def others_published() -> bool:
        await tracker.round()
        return await redis.hlen(names.open_interest("BTC")) == 3

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(poller.run(stop)) for poller in tracker.pollers]
        await eventually(others_published)
        held_up = next(poller for poller in tracker.pollers if poller.name == "BYBIT")
        assert held_up.polls == 0
        for task in running:
            task.cancel()
    monkeypatch.setattr(poller_module, "POLL_TIMEOUT_S", 0.2)
    await held_up.turn()
    assert "no answer" in held_up.problem


async def test_a_redis_that_hangs_holds_up_no_venue(
    venues: Gateway, own_redis: RedisServer, influx: InfluxClient
) -> None:
    redis = Redis(port=own_redis.port, socket_timeout=30, retry=Retry(NoBackoff(), 0))
    asking = Asking(venues, redis, influx, bases=["BTC"])
    first, *others = asking.tracker.pollers
    await redis.ping()
    own_redis.pause()
    stuck = asyncio.create_task(first.turn())
    async with asyncio.timeout(20):
        await eventually(lambda: asyncio.sleep(0, asking.tracker.book.samples == 1))
        await asyncio.gather(*(poller.turn() for poller in others))
    assert not stuck.done()
    own_redis.resume()
    await stuck
    await asking.tracker.round()
    assert await redis.hlen(names.open_interest("BTC")) == 4
    await asking.close()
    await redis.aclose()


async def test_a_poller_that_hangs_for_good_ends_the_process(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asking.go()
    monkeypatch.setattr(poller_module, "POLL_TIMEOUT_S", -60.0)
    with pytest.raises(Stuck, match="BINANCE_FUTURES"):
        await asking.tracker.round()


async def test_a_jump_is_held_back_alarmed_and_its_end_told(
    asking: Asking, venues: Gateway, influx: InfluxClient, redis: Redis
) -> None:
    await asking.go()
    venues.factor["www.okx.com"] = 3.5
    for _ in range(3):
        await asking.go()
    rows = await influx.query("SELECT coins FROM open_interest WHERE exchange = 'OKX'")
    assert {row["coins"] for row in rows} == {300, 3000}
    total = await total_of(redis)
    assert total.coins == 640
    assert [share.exchange for share in total.venues if share.held] == ["OKX"]
    kept = msgspec.json.decode(
        (await redis.hgetall(names.open_interest("BTC")))[b"OKX"], type=OpenInterest
    )
    assert kept.coins == 300
    begun = await alerts_of(redis)
    assert sorted((alert.code, alert.symbol) for alert in begun) == [
        ("oi_jump", "BTCUSDT"), ("oi_jump", "ETHUSDT"),
    ]  # fmt: skip
    assert all(alert.level == "warning" and "OKX" in alert.text for alert in begun)
    venues.factor.clear()
    await asking.go()
    ended = (await alerts_of(redis))[2:]
    assert [alert.ended_level for alert in ended] == ["warning", "warning"]
    assert await redis.exists(names.open_interest_held("BTC")) == 0


async def test_a_restart_in_the_middle_of_a_jump_neither_believes_nor_tells_it_again(
    asking: Asking, venues: Gateway, influx: InfluxClient, redis: Redis
) -> None:
    await asking.go()
    venues.factor["www.okx.com"] = 3.5
    await asking.go()
    again = Asking(venues, redis, influx)
    await again.tracker.remember()
    await again.go()
    total = await total_of(redis)
    assert (total.coins, [s.exchange for s in total.venues if s.held]) == (640, ["OKX"])
    assert len(await alerts_of(redis)) == 2
    await again.close()


async def test_what_an_earlier_run_knew_stands_in_for_a_venue_that_is_away(
    asking: Asking, venues: Gateway, influx: InfluxClient, redis: Redis
) -> None:
    await asking.go()
    venues.failing.add("www.okx.com")
    again = Asking(venues, redis, influx)
    await again.tracker.remember()
    await again.go()
    total = await total_of(redis)
    assert (total.coins, total.missing) == (640, [])
    assert [share.exchange for share in total.venues if share.carried] == ["OKX"]
    await again.close()


async def test_bases_are_those_of_perpetuals_that_are_followed(
    asking: Asking, redis: Redis
) -> None:
    for market, kind in (("BYBIT:ETHUSDT", "perp"), ("BINANCE:btcusdt", "spot")):
        base = "ETH" if kind == "perp" else "BTC"
        record = Market(market, market.partition(":")[0], base, "USDT", kind)  # type: ignore[arg-type]
        await redis.hset(MARKETS_KEY, market, msgspec.json.encode(record))
    await asking.tracker.remember()
    await asking.go()
    assert await redis.hlen(names.open_interest("ETH")) == 4
    assert await redis.hlen(names.open_interest("BTC")) == 0


async def test_change_over_a_day_comes_from_the_stored_history(
    asking: Asking, influx: InfluxClient, redis: Redis
) -> None:
    then = time.time_ns() // 1_000_000 - DAY_MS - 60_000
    await influx.write(
        [
            "open_interest,symbol=BTCUSDT,exchange=BINANCE_FUTURES,aggregate_type=exchange "
            f"coins=80 {then}",
            f"open_interest,symbol=BTCUSDT,exchange=BYBIT,aggregate_type=exchange coins=160 {then}",
            # Too old to stand for yesterday's value.
            "open_interest,symbol=BTCUSDT,exchange=OKX,aggregate_type=exchange "
            f"coins=1 {then - 3_600_000}",
        ],
        precision="ms",
    )
    await asking.go()
    rows = await influx.query("SELECT * FROM open_interest WHERE oi_change_24h > 0")
    changes = {row["exchange"]: row for row in rows}
    assert changes.keys() == {"BINANCE_FUTURES", "BYBIT", "FUTURES_AGG", "TOTAL_AGG"}
    for row in changes.values():
        assert row["oi_change_24h"] == pytest.approx(0.25)
        assert row["oi_change_pct"] == pytest.approx(25)
    total = await total_of(redis)
    assert total.change_24h == pytest.approx(0.25)
    assert {s.exchange: s.change_24h for s in total.venues}["OKX"] is None


async def test_points_taken_while_influx_is_away_arrive_later(
    venues: Gateway, redis: Redis, own_influx: InfluxServer
) -> None:
    settings = InfluxSchemaSettings(influx_port=own_influx.port)
    with influx_init.connect(settings) as blocking:
        influx_init.apply_schema(blocking, settings, report=lambda _: None)
    async with InfluxClient(settings) as influx:
        asking = Asking(venues, redis, influx, ["OKX"], ["BTC"])
        own_influx.kill()
        await asking.go()
        assert "InfluxDB" in asking.tracker.status
        assert await redis.hexists(names.open_interest("BTC"), "OKX")
        own_influx.start()
        await asking.go()
        assert asking.tracker.status == "ok"
        rows = await influx.query("SELECT coins FROM open_interest WHERE exchange = 'OKX'")
    await asking.close()
    assert len(rows) == 2


async def test_what_is_new_while_redis_is_away_is_published_later(
    venues: Gateway, own_redis: RedisServer, influx: InfluxClient
) -> None:
    redis = Redis(port=own_redis.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))
    asking = Asking(venues, redis, influx, ["OKX"], ["BTC"])
    await asking.go()
    own_redis.kill()
    venues.factor["www.okx.com"] = 3.5
    await asking.go()
    assert "Redis" in asking.tracker.status
    own_redis.start()
    await asking.tracker.round()
    assert asking.tracker.status == "ok"
    assert [alert.code for alert in await alerts_of(redis)] == ["oi_jump"]
    await asking.close()
    await redis.aclose()
