"""Messages from a real Redis through Apprise to a real HTTP server."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from redis.asyncio import Redis

from services.core import names
from services.core.records import Alert
from services.notify.planner import OLD_MS
from tests.integration.notify.sink import TOKEN, Sink
from tests.integration.notify.support import (
    alarm,
    eventually,
    fill,
    notifying,
    now_ms,
    report,
    settled,
    title,
    unacknowledged,
)
from tests.integration.servers import RedisServer


def alert(code: str, level: str = "critical", **more: object) -> Alert:
    fields = {"level": level, "code": code, "text": f"about {code}", "ts_ms": now_ms(), **more}
    return msgspec.convert(fields, Alert)


async def test_trades_and_alerts_arrive_once_each(
    redis: Redis, redis_port: int, sink: Sink
) -> None:
    async with notifying(redis_port, sink.url) as notifier:
        await report(redis, fill(1))
        await sink.until_received(1)
        await report(redis, fill(1, event="closed", pnl=4.2, pnl_ratio=0.126, reason="sf_expired"))
        await sink.until_received(2)
        await report(redis, fill(2, event="rejected", reason="halted", trade_id=None))
        await sink.until_received(3)
        await alarm(redis, alert("disk", "warning", symbol="BTCUSDT"))
        await sink.until_received(4)
        await settled(redis)
        assert notifier.problem == ""
        assert notifier.details == {"json-1": "ok"}
    assert [(m.title, m.tone) for m in sink.received] == [
        ("LONG C1USDT opened", "info"),
        ("LONG C1USDT closed, +4.20 USDT", "success"),
        ("LONG C2USDT refused: halted", "warning"),
        ("Warning: disk BTCUSDT", "warning"),
    ]
    assert sink.received[1].body == "1 C1 at 100, 3x, +12.60 % of the margin, expired, trade 1"


async def test_a_fill_that_is_reported_twice_is_told_once(
    redis: Redis, redis_port: int, sink: Sink
) -> None:
    same = fill(1)
    async with notifying(redis_port, sink.url):
        await report(redis, same, same)
        await settled(redis)
        await report(redis, same)
        await settled(redis)
    async with notifying(redis_port, sink.url):  # what was told is remembered over a restart
        await report(redis, same, fill(2))
        await settled(redis)
    assert sink.titles == [title(1), title(2)]


async def test_a_flood_becomes_a_summary(redis: Redis, redis_port: int, sink: Sink) -> None:
    async with notifying(redis_port, sink.url, notify_max_per_minute=5):
        await report(redis, *(fill(number) for number in range(300)))
        await alarm(redis, alert("memory"))
        await eventually(lambda: "Critical: memory" in sink.titles)
        await settled(redis)
    told = 0
    for message in sink.received:
        told += int(message.title.split()[0]) if "messages:" in message.title else 1
    assert told == 301
    assert len(sink.received) <= 6


async def test_a_service_that_is_down_gets_everything_when_it_is_back(
    redis: Redis, redis_port: int, other_sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with notifying(redis_port, other_sink.url) as notifier:
        await report(redis, fill(1), fill(2))
        await eventually(lambda: "2 tries" in notifier.details["json-1"])
        assert notifier.problem == "no messages through json-1"
        assert "Connection error" in notifier.details["json-1"]
        assert await unacknowledged(redis) == 2
        await other_sink.start()
        await other_sink.until_received(2)
        await settled(redis)
        assert notifier.details == {"json-1": "ok"}
    assert other_sink.titles == [title(1), title(2)]
    warnings = [r.getMessage() for r in caplog.records if r.name.startswith("services.notify")]
    assert [text.split(" channel=")[0] for text in warnings] == [
        "messages do not arrive, trying on",
        "messages arrive again",
    ]
    assert TOKEN not in " ".join([*warnings, str(notifier.details)])


async def test_a_service_that_is_down_holds_up_no_other(
    redis: Redis, redis_port: int, sink: Sink, other_sink: Sink
) -> None:
    async with notifying(redis_port, other_sink.url, sink.url) as notifier:
        await report(redis, fill(1))
        await sink.until_received(1)
        await eventually(lambda: notifier.problem)
        assert notifier.details["json-2"] == "ok"
    # What it was told is not told again, what the other was not is.
    await other_sink.start()
    async with notifying(redis_port, other_sink.url, sink.url):
        await other_sink.until_received(1)
        await settled(redis)
    assert sink.titles == other_sink.titles == [title(1)]


async def test_nothing_is_lost_by_restarts(redis: Redis, redis_port: int, sink: Sink) -> None:
    async with notifying(redis_port, sink.url):
        await report(redis, fill(1))
        await sink.until_received(1)
        sink.status = 500
        await report(redis, fill(2))
        await sink.until_asked(2)
    await report(redis, fill(3))
    await alarm(redis, alert("while nobody listened"))
    sink.status = 200
    async with notifying(redis_port, sink.url):
        await sink.until_received(4)
        await settled(redis)
    async with notifying(redis_port, sink.url):
        await settled(redis)
    assert sink.titles[0] == title(1)
    assert sorted(sink.titles[1:]) == ["Critical: while nobody listened", title(2), title(3)]


async def test_a_message_on_its_way_is_finished_before_the_end(
    redis: Redis, redis_port: int, sink: Sink
) -> None:
    sink.answer.clear()
    async with notifying(redis_port, sink.url):
        await report(redis, fill(1))
        await sink.until_asked(1)
        sink.answer.set()
    assert sink.titles == [title(1)]
    assert await unacknowledged(redis) == 0


async def test_what_happened_long_ago_is_summed_up(
    redis: Redis, redis_port: int, sink: Sink
) -> None:
    async with notifying(redis_port, sink.url):
        pass  # so that the channel is known
    long_ago = now_ms() - OLD_MS - 60_000
    await report(redis, *(fill(number, ts_ms=long_ago + number) for number in range(3)))
    await report(redis, fill(3, ts_ms=long_ago, event="closed", pnl=-2.5))
    await report(redis, fill(4))
    async with notifying(redis_port, sink.url):
        await settled(redis)
    assert sink.titles == ["4 messages: 3 opened, 1 closed (-2.50 USDT)", title(4)]


async def test_a_new_channel_begins_with_the_last_ten_minutes(
    redis: Redis, redis_port: int, sink: Sink
) -> None:
    data = msgspec.json.encode(fill(1))
    await redis.xadd(names.FILLS_STREAM, {"data": data}, id=f"{now_ms() - OLD_MS - 60_000}-0")
    await report(redis, fill(2))
    async with notifying(redis_port, sink.url):
        await sink.until_received(1)
        await settled(redis)
    assert sink.titles == [title(2)]


async def test_quiet_hours_hold_back_what_is_not_critical(
    redis: Redis, redis_port: int, sink: Sink
) -> None:
    now = datetime.now(UTC)
    hours = f"{now - timedelta(hours=2):%H:%M}-{now + timedelta(hours=2):%H:%M}"
    async with notifying(redis_port, sink.url, notify_quiet_hours=hours):
        await report(redis, fill(1))
        await alarm(redis, alert("gap", "warning"))
        await alarm(redis, alert("memory"))
        await alarm(redis, alert("memory", "info", ended_level="critical"))
        await sink.until_received(2)
        assert sink.titles == ["Critical: memory", "Over: memory"]
        await eventually(lambda: unacknowledged_is(redis, 2))
    async with notifying(redis_port, sink.url):
        await settled(redis)
    assert sorted(sink.titles[2:]) == [title(1), "Warning: gap"]


async def unacknowledged_is(redis: Redis, count: int) -> bool:
    return await unacknowledged(redis) == count


async def test_alerts_below_the_level_are_not_sent_nor_their_ends(
    redis: Redis, redis_port: int, sink: Sink
) -> None:
    async with notifying(redis_port, sink.url, notify_level="critical"):
        await alarm(redis, alert("gap", "warning"))
        await alarm(redis, alert("gap", "info", ended_level="warning"))
        await alarm(redis, alert("memory"))
        await alarm(redis, alert("memory", "info", ended_level="critical"))
        await settled(redis)
    assert sink.titles == ["Critical: memory", "Over: memory"]


async def test_alerts_are_sent_while_redis_is_away_and_not_again_after(
    own_redis: RedisServer, sink: Sink
) -> None:
    redis = Redis(port=own_redis.port)
    async with notifying(own_redis.port, sink.url) as notifier:
        await report(redis, fill(1))
        await sink.until_received(1)
        await redis.aclose()
        own_redis.kill()
        lost = alert("redis is down")
        notifier.tell(lost)
        await sink.until_received(2)
        own_redis.start()
        await alarm(redis, lost)
        await report(redis, fill(2))
        await sink.until_received(3)
        await settled(redis)
    await redis.aclose()
    assert sink.titles == [title(1), "Critical: redis is down", title(2)]


async def test_a_redis_that_lost_its_data_is_used_anew(
    redis: Redis, redis_port: int, sink: Sink
) -> None:
    async with notifying(redis_port, sink.url):
        await report(redis, fill(1))
        await sink.until_received(1)
        await settled(redis)
        await redis.flushall()
        await report(redis, fill(2))
        await sink.until_received(2, timeout_s=20)
    assert sink.titles == [title(1), title(2)]


async def test_an_entry_that_cannot_be_read_is_told_in_the_log_and_skipped(
    redis: Redis, redis_port: int, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    async with notifying(redis_port, sink.url):
        await redis.xadd(names.FILLS_STREAM, {"data": b"{"})
        await report(redis, fill(1))
        await sink.until_received(1)
        await settled(redis)
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1
    assert errors[0].startswith("entry not readable, skipped stream=squeezeflow:fills id=")


async def test_entries_trimmed_before_they_were_told_are_counted(
    redis: Redis, redis_port: int, other_sink: Sink
) -> None:
    async with notifying(redis_port, other_sink.url) as notifier:
        await report(redis, fill(1), fill(2))
        await eventually(lambda: notifier.problem)
    await redis.xtrim(names.FILLS_STREAM, maxlen=0, approximate=False)
    await other_sink.start()
    async with notifying(redis_port, other_sink.url):
        await other_sink.until_received(1)
        await settled(redis)
    assert "2 more were left out" in other_sink.received[0].body


async def test_groups_of_channels_that_are_no_longer_set_up_go(
    redis: Redis, redis_port: int, sink: Sink, other_sink: Sink
) -> None:
    async with notifying(redis_port, sink.url, other_sink.url):
        await report(redis, fill(1))
        await sink.until_received(1)
    await redis.xgroup_create(names.FILLS_STREAM, names.FILLS_GROUP, id="0")
    async with notifying(redis_port, sink.url):
        await report(redis, fill(2))
        await sink.until_received(2)
        await eventually(lambda: groups_are(redis, 2))
    names_left = {group["name"] for group in await redis.xinfo_groups(names.FILLS_STREAM)}
    assert names.FILLS_GROUP.encode() in names_left


async def groups_are(redis: Redis, count: int) -> bool:
    return len(await redis.xinfo_groups(names.FILLS_STREAM)) == count


async def test_simulated_trades_are_marked(redis: Redis, redis_port: int, sink: Sink) -> None:
    gateway = "http://127.0.0.1:18090"
    async with notifying(redis_port, sink.url, exchange_gateway=gateway):
        await report(redis, fill(1))
        await sink.until_received(1)
    assert sink.titles == [f"Demo: {title(1)}"]


async def test_without_channels_nothing_is_done(redis: Redis, redis_port: int) -> None:
    async with notifying(redis_port) as notifier:
        notifier.tell(alert("nobody hears"))
        await report(redis, fill(1))
        assert (notifier.problem, notifier.details) == ("", {})
    assert await redis.xinfo_groups(names.FILLS_STREAM) == []
