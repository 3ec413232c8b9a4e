"""Lease, claim and refusal on a real Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import msgspec
import pytest
from redis import Redis

from aggr_server.settings import Connections
from services.core import names
from services.core.records import Alert, Fill
from squeezeflow.lease import LIFE_MS, Lease
from squeezeflow.link import MAX_DRAINED, Link, NotHolder, RedisAway
from tests.integration.freqtrade.bot import eventually
from tests.integration.servers import RedisServer

SYMBOLS = ["BTCUSDT", "ETHUSDT"]


@pytest.fixture
def link(redis_port: int) -> Iterator[Link]:
    link = Link(Connections(redis_port=redis_port))
    yield link
    link.close()


@pytest.fixture
def redis(redis_port: int) -> Iterator[Redis]:
    with Redis(port=redis_port) as client:
        yield client


def turn(link: Link, lease: Lease) -> Lease:
    """One turn of an executor."""
    lease.answered(link.turn(lease, SYMBOLS)[1])
    return lease


def rejected(signal_id: str) -> Fill:
    """A refusal."""
    return Fill(
        event="rejected",
        signal_id=signal_id,
        symbol="BTCUSDT",
        pair="BTC/USDT:USDT",
        side="long",
        ts_ms=1,
        reason="halted",
    )


def test_turn_sees_signals_and_switch_in_order(link: Link, redis: Redis) -> None:
    redis.set(names.signal("ETHUSDT"), b"eth")
    redis.set(names.HALT, b"halt")
    seen, _ = link.turn(Lease("a"), SYMBOLS)
    assert seen == ([None, b"eth"], b"halt")
    assert link.look("ETHUSDT") == ([b"eth"], b"halt")
    assert link.turn(Lease("a"), [])[0] == ([], b"halt")


def test_X5_lease_is_renewed_by_its_holder_and_refused_to_others(link: Link, redis: Redis) -> None:
    first = turn(link, Lease("a"))
    assert redis.get(names.EXECUTOR_LEASE) == first.value.encode()
    token = first.token
    redis.pexpire(names.EXECUTOR_LEASE, 500)
    second = turn(link, Lease("b"))
    assert not second.held
    assert second.problem.startswith("another executor (a) may enter")
    assert turn(link, first).token == token
    left_ms = redis.pttl(names.EXECUTOR_LEASE)
    assert isinstance(left_ms, int)
    assert LIFE_MS - 5_000 < left_ms <= LIFE_MS


def test_X5_ended_lease_is_taken_over_with_a_higher_token(link: Link, redis: Redis) -> None:
    first = turn(link, Lease("a"))
    redis.delete(names.EXECUTOR_LEASE)
    second = turn(link, Lease("b"))
    assert second.token > first.token
    assert not turn(link, first).held
    with pytest.raises(NotHolder):
        link.claim("id-1", first)
    assert redis.get(names.executed("id-1")) is None


def test_X5_restart_on_the_same_data_goes_on_at_once_and_deposes_the_old_process(
    link: Link,
) -> None:
    old = turn(link, Lease("a"))
    new = turn(link, Lease("a"))
    assert new.token > old.token
    with pytest.raises(NotHolder):
        link.claim("id-1", old)
    assert not turn(link, old).held
    assert turn(link, new).held
    assert link.claim("id-1", new)


def test_X5_lease_whose_answer_was_lost_is_known_as_ones_own(link: Link, redis: Redis) -> None:
    own = turn(link, Lease("a"))
    redis.delete(names.EXECUTOR_LEASE, names.EXECUTOR_PROCESS)
    _, lost = link.turn(own, SYMBOLS)
    assert lost.token > own.token
    assert turn(link, own).token == lost.token
    assert link.claim("id-1", own)


def test_X5_token_grows_after_redis_lost_its_data(link: Link, redis: Redis) -> None:
    first = turn(link, Lease("a"))
    second = turn(link, Lease("b"))
    before = first.token
    time.sleep(0.002)  # the tokens are not below the clock in ms
    redis.flushall()
    assert not turn(link, second).held
    assert turn(link, first).token > before
    assert not turn(link, second).held


def test_claim_is_given_once(link: Link, redis: Redis) -> None:
    lease = turn(link, Lease("a"))
    assert [link.claim("id-1", lease) for _ in range(3)] == [True, False, False]
    ttl = redis.ttl(names.executed("id-1"))
    assert isinstance(ttl, int)
    assert ttl > names.DAY_S - 60


def test_nothing_is_claimed_before_the_lease(link: Link) -> None:
    with pytest.raises(NotHolder):
        link.claim("id-1", Lease("a"))


def test_X5_refusal_of_an_executor_without_the_lease_takes_nothing(
    link: Link, redis: Redis
) -> None:
    first, second = turn(link, Lease("a")), turn(link, Lease("b"))
    link.refuse(rejected("id-1"), second)
    assert redis.xlen(names.FILLS_STREAM) == 0
    assert link.claim("id-1", first)
    link.refuse(rejected("id-2"), first)
    link.refuse(rejected("id-2"), first)
    assert redis.xlen(names.FILLS_STREAM) == 1
    assert redis.get(names.executed("id-2")) == b"refused:halted"


def test_X9_switch_is_put_back_unless_somebody_has_thrown_it_since(
    link: Link, redis: Redis
) -> None:
    link.restore_halt(None, b"mine")
    assert redis.get(names.HALT) == b"mine"
    link.restore_halt(None, b"again")
    link.restore_halt(b"other", b"again")
    assert redis.get(names.HALT) == b"mine"
    link.restore_halt(b"mine", b"newer")
    assert redis.get(names.HALT) == b"newer"
    assert redis.ttl(names.HALT) == -1


def test_alert_reaches_channel_and_list(link: Link, redis: Redis) -> None:
    alert = Alert(level="critical", code="second_executor", text="b", ts_ms=1)
    link.alert(alert)
    (raw,) = redis.lrange(names.ALERTS, 0, -1)
    assert msgspec.json.decode(raw, type=Alert) == alert


def test_redis_that_renews_the_lease_but_tells_of_no_signals_is_away(
    link: Link, redis: Redis
) -> None:
    redis.acl_setuser("default", enabled=True, commands=["-mget"])
    try:
        with pytest.raises(RedisAway, match="mget"):
            link.turn(Lease("a"), SYMBOLS)
    finally:
        redis.acl_setuser("default", enabled=True, categories=["+@all"])
    assert link.turn(Lease("a"), SYMBOLS)[0] == ([None, None], None)


def test_question_of_another_thread_during_the_wait_is_refused_instead_of_waiting_too(
    link: Link, redis: Redis
) -> None:
    waiting = threading.Thread(target=link.wait, args=(30.0,))
    waiting.start()
    eventually(lambda: redis.pubsub_numsub(names.SIGNALS_CHANNEL)[0][1])
    with pytest.raises(RedisAway, match="has not ended yet"):
        link.look("BTCUSDT")
    redis.publish(names.SIGNALS_CHANNEL, b"")
    waiting.join(30.0)
    assert not waiting.is_alive()
    assert not link.away
    assert link.look("BTCUSDT") == ([None], None)


def test_a_flood_of_messages_ends_the_wait_and_does_not_hold_the_loop(
    link: Link, redis: Redis
) -> None:
    link.wait(0.01)
    waits = 4
    for _ in range(waits * (MAX_DRAINED + 1)):
        redis.publish(names.SIGNALS_CHANNEL, b"")
    began = time.monotonic()
    for _ in range(waits):
        link.wait(60.0)
    assert time.monotonic() - began < 30.0


def test_the_wait_subscribes_anew_once_redis_is_back(own_redis: RedisServer) -> None:
    link = Link(Connections(redis_port=own_redis.port))
    link.wait(0.01)
    own_redis.kill()
    for _ in range(2):
        link.wait(0.01)
        assert link.away
    own_redis.start()
    waiting = threading.Thread(target=link.wait, args=(60.0,))
    waiting.start()
    with Redis(port=own_redis.port) as redis:
        eventually(lambda: redis.pubsub_numsub(names.SIGNALS_CHANNEL)[0][1])
        redis.publish(names.SIGNALS_CHANNEL, b"")
    waiting.join(30.0)
    assert not waiting.is_alive()
    assert not link.away
    link.close()


def test_redis_that_takes_no_writes_still_tells_of_exits_but_gives_no_lease(
    link: Link, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    lease = turn(link, Lease("a"))
    redis.set(names.signal("BTCUSDT"), b"close")
    redis.config_set("min-replicas-to-write", 1)
    try:
        for _ in range(3):
            seen, answer = link.turn(lease, SYMBOLS)
            assert seen.signals == [b"close", None]
            lease.answered(answer)
            assert not lease.held
        with pytest.raises(RedisAway):
            link.claim("id-1", lease)
        assert [record.levelname for record in caplog.records][:1] == ["ERROR"]
        assert "takes no writes" in caplog.text
    finally:
        redis.config_set("min-replicas-to-write", 0)
    assert turn(link, lease).held
