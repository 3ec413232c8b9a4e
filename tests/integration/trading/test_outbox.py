"""What is published, and by whom it may be written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from services.core import names
from services.core.records import Signal
from services.core.transaction import Command, transact
from services.signal_validator import Limits
from services.trading.leases import Leases
from services.trading.outbox import ROUTINE_TURNS, Outbox
from services.trading.signals import cancel_signal
from tests.unit.test_signal_validator import signal as a_signal

OTHERS = ("AUSDT", "BUSDT", "CUSDT")


async def history(redis: Redis, symbol: str) -> list[Signal]:
    raw = await redis.lrange(names.history(symbol), 0, -1)
    return [msgspec.json.decode(data, type=Signal) for data in raw]


async def test_what_is_published_says_when_it_went_out(redis: Redis) -> None:
    clock = {"ms": 1_000}
    outbox = Outbox(redis, now_ms=lambda: clock["ms"])
    signal = a_signal()
    outbox.announce(signal)
    clock["ms"] = 1_750
    async with redis.pubsub() as listener:
        await listener.subscribe(names.SIGNALS_CHANNEL)
        assert await listener.get_message(timeout=5)
        await outbox.flush()
        message = await listener.get_message(ignore_subscribe_messages=True, timeout=5)
    assert message is not None
    expected = msgspec.structs.replace(signal, refreshed_ms=1_750)
    assert msgspec.json.decode(message["data"], type=Signal) == expected
    (stored,) = await redis.lrange(names.history(signal.symbol), 0, -1)
    assert stored == message["data"]
    assert await redis.get(names.stat("signals_published")) == b"1"


async def test_a_signal_is_published_once_though_the_answer_was_lost(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(redis: Redis, commands: Sequence[Command]) -> list[Any]:
        monkeypatch.undo()
        await transact(redis, commands)
        raise RedisConnectionError("connection lost")

    monkeypatch.setattr("services.trading.outbox.transact", lose)
    outbox = Outbox(redis, now_ms=lambda: 1_000, limits=Limits())
    signal = a_signal()
    outbox.announce(signal)
    with pytest.raises(RedisConnectionError):
        await outbox.flush()
    await outbox.flush()
    assert len(await history(redis, signal.symbol)) == 1
    assert await redis.get(names.stat("signals_published")) == b"1"


async def test_what_is_told_while_the_turn_before_is_written_is_a_turn_of_its_own(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, signal = Outbox(redis, now_ms=lambda: 1_000), a_signal()
    written: list[list[str]] = []
    outbox.on_written = lambda signals: written.append([s.signal_id for s in signals])

    async def decide_meanwhile(redis: Redis, commands: Sequence[Command]) -> list[Any]:
        monkeypatch.undo()
        outbox.announce(signal)
        outbox.turn()
        return await transact(redis, commands)

    monkeypatch.setattr("services.trading.outbox.transact", decide_meanwhile)
    outbox.turn()
    await outbox.flush()
    await outbox.flush()
    assert written == [[], [signal.signal_id]]


async def test_s10_a_replica_that_lost_its_lease_changes_nothing(redis: Redis) -> None:
    signal = a_signal()
    old, new = (Leases(redis, [signal.symbol], name) for name in ("old", "new"))
    await old.turn()
    late = Outbox(redis, now_ms=lambda: 1_000, fence=old.fence)
    state, key = names.state(signal.symbol), names.signal(signal.symbol)
    recorded: list[str] = []

    await redis.hdel(names.REPLICAS, "old")
    await redis.delete(names.lease(signal.symbol))
    await new.turn()
    outbox = Outbox(redis, now_ms=lambda: 2_000, fence=new.fence)
    outbox.put(state, b"newer", symbol=signal.symbol)
    outbox.show(signal)
    await outbox.flush()
    shown = await redis.get(key)

    late.put(state, b"older", symbol=signal.symbol)
    late.announce(signal)
    late.withdraw(signal.symbol)
    late.afterwards(signal.symbol, lambda: recorded.append("late"))
    late.turn()
    await late.flush()
    assert await redis.get(state) == b"newer"
    assert await redis.get(key) == shown
    assert await history(redis, signal.symbol) == []
    assert recorded == []


async def test_what_is_forgotten_while_it_is_being_written_is_not_tried_again(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = a_signal()
    outbox = Outbox(redis, now_ms=lambda: 1_000)

    async def fail(redis: Redis, commands: Sequence[Command]) -> list[Any]:
        outbox.forget(signal.symbol)
        raise RedisConnectionError("connection lost")

    monkeypatch.setattr("services.trading.outbox.transact", fail)
    outbox.announce(signal)
    with pytest.raises(RedisConnectionError):
        await outbox.flush()
    monkeypatch.undo()
    await outbox.flush()
    assert await history(redis, signal.symbol) == []


async def test_what_was_held_back_goes_out_when_the_lease_is_renewed(redis: Redis) -> None:
    signal = a_signal()
    leases = Leases(redis, [signal.symbol], "one")
    await leases.turn()
    outbox = Outbox(redis, now_ms=lambda: 1_000, fence=leases.fence)
    await redis.flushall()
    outbox.announce(signal)
    await outbox.flush()
    assert await history(redis, signal.symbol) == []
    await leases.turn()
    await outbox.flush()
    assert len(await history(redis, signal.symbol)) == 1


def told(outbox: Outbox) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    outbox.on_refused = lambda signal, reason: found.append((signal.signal_id, reason))
    return found


async def test_an_entry_needs_a_slot_among_those_of_all_replicas(redis: Redis) -> None:
    signal = a_signal()
    taken = list(OTHERS)
    other = Outbox(redis, now_ms=lambda: 1_000, slots=lambda: taken, limits=Limits())
    other.turn()
    await other.flush()
    outbox = Outbox(redis, now_ms=lambda: 1_000, slots=lambda: [signal.symbol], limits=Limits())
    refused = told(outbox)
    known: list[frozenset[str]] = []
    outbox.on_slots = known.append
    outbox.announce(signal)
    outbox.show(signal)
    await outbox.flush()
    assert refused == [(signal.signal_id, "no free slot")]
    assert await history(redis, signal.symbol) == []

    taken.remove("CUSDT")
    other.turn()
    await other.flush()
    outbox.announce(signal)
    await outbox.flush()
    assert len(await history(redis, signal.symbol)) == 1
    outbox.turn()
    await outbox.flush()
    assert known[-1] == {"AUSDT", "BUSDT", signal.symbol}


async def test_a_slot_nobody_confirms_is_free_after_a_while(redis: Redis) -> None:
    clock = {"ms": 1_000}
    dead = Outbox(redis, now_ms=lambda: 1_000, slots=lambda: OTHERS, limits=Limits())
    dead.turn()
    await dead.flush()
    outbox = Outbox(redis, now_ms=lambda: clock["ms"], limits=Limits())
    clock["ms"] = 152_000
    outbox.announce(a_signal())
    await outbox.flush()
    assert len(await history(redis, a_signal().symbol)) == 1


async def test_all_replicas_together_publish_no_more_than_twenty_entries_a_minute(
    redis: Redis,
) -> None:
    limits = Limits(max_open_positions=100, per_minute=2)
    boxes = [Outbox(redis, now_ms=lambda: 1_000, limits=limits) for _ in range(3)]
    refused = [told(box) for box in boxes]
    for i, box in enumerate(boxes):
        box.announce(a_signal(signal_id=f"id-{i}", symbol=OTHERS[i]))
        await box.flush()
    assert refused == [[], [], [("id-2", "too many entries in a minute")]]


async def slots(redis: Redis) -> set[str]:
    taken: Any = await redis.zrange(names.SLOTS, 0, -1)
    return {name.decode() for name in taken}


def while_written(
    monkeypatch: pytest.MonkeyPatch, happen: Callable[[], None], *, answered: bool = True
) -> None:
    """Let something happen between the next write and its answer, which may be lost."""

    async def write(redis: Redis, commands: Sequence[Command]) -> list[Any]:
        monkeypatch.undo()
        answers = await transact(redis, commands)
        happen()
        if not answered:
            raise RedisConnectionError("connection lost")
        return answers

    monkeypatch.setattr("services.trading.outbox.transact", write)


async def turn(outbox: Outbox) -> None:
    outbox.turn()
    await outbox.flush()


async def test_the_slot_of_a_symbol_forgotten_while_it_is_confirmed_stays_with_its_new_leader(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = ["AUSDT"]
    outbox = Outbox(redis, now_ms=lambda: 1_000, slots=lambda: taken, limits=Limits())
    while_written(monkeypatch, lambda: outbox.forget("AUSDT"))
    await turn(outbox)
    taken.clear()
    await turn(outbox)
    assert await slots(redis) == {"AUSDT"}


async def test_the_slot_of_a_symbol_forgotten_while_its_entry_is_written_stays_with_its_new_leader(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, signal = Outbox(redis, now_ms=lambda: 1_000, limits=Limits()), a_signal()
    outbox.announce(signal)
    while_written(monkeypatch, lambda: outbox.forget(signal.symbol))
    await outbox.flush()
    await turn(outbox)
    assert await slots(redis) == {signal.symbol}


async def test_an_entry_cancelled_after_its_answer_was_lost_gives_its_slot_back(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, signal = Outbox(redis, now_ms=lambda: 1_000, limits=Limits()), a_signal()
    outbox.announce(signal)
    while_written(monkeypatch, lambda: None, answered=False)
    with pytest.raises(RedisConnectionError):
        await outbox.flush()
    assert await slots(redis) == {signal.symbol}
    outbox.announce(cancel_signal(signal, "divergence gone", 1_500))
    await turn(outbox)
    assert await slots(redis) == set()


async def test_a_slot_is_kept_while_the_lease_on_its_symbol_is_not_certain(redis: Redis) -> None:
    certain = True
    outbox = Outbox(
        redis,
        now_ms=lambda: 1_000,
        slots=lambda: ["AUSDT"],
        may_show=lambda _: certain,
        limits=Limits(),
    )
    await turn(outbox)
    certain = False
    await turn(outbox)
    assert await slots(redis) == {"AUSDT"}


async def test_s10_a_replica_that_lost_its_lease_neither_takes_nor_frees_a_slot(
    redis: Redis,
) -> None:
    old, new = (Leases(redis, ["AUSDT"], name) for name in ("old", "new"))
    taken = {old: ["AUSDT"], new: ["AUSDT"]}
    late, outbox = (
        Outbox(
            redis,
            now_ms=lambda: 1_000,
            fence=leases.fence,
            slots=functools.partial(taken.__getitem__, leases),
            limits=Limits(),
        )
        for leases in (old, new)
    )
    await old.turn()
    await turn(late)
    await redis.hdel(names.REPLICAS, "old")
    await redis.delete(names.lease("AUSDT"))
    await new.turn()

    await turn(outbox)
    taken[old].clear()
    await turn(late)
    assert await slots(redis) == {"AUSDT"}

    taken[new].clear()
    await turn(outbox)
    taken[old].append("AUSDT")
    for _ in range(ROUTINE_TURNS):
        await turn(late)
    assert await slots(redis) == set()


async def test_the_slot_that_a_symbols_last_leader_left_is_freed_unless_it_is_taken(
    redis: Redis,
) -> None:
    former = Outbox(redis, now_ms=lambda: 1_000, slots=lambda: ["AUSDT", "BUSDT"], limits=Limits())
    await turn(former)
    taken = ["BUSDT"]
    outbox = Outbox(redis, now_ms=lambda: 1_000, slots=lambda: taken, limits=Limits())
    for symbol in ("AUSDT", "BUSDT"):
        outbox.inherit(symbol)
    await turn(outbox)
    assert await slots(redis) == {"BUSDT"}
    taken.clear()
    await turn(outbox)
    assert await slots(redis) == set()


async def test_a_slot_inherited_is_confirmed_at_once(redis: Redis) -> None:
    outbox = Outbox(redis, now_ms=lambda: 1_000, slots=lambda: ["AUSDT"], limits=Limits())
    await turn(outbox)
    await redis.delete(names.SLOTS)
    outbox.forget("AUSDT")
    outbox.inherit("AUSDT")
    await turn(outbox)
    assert await slots(redis) == {"AUSDT"}


async def test_the_slot_of_an_inherited_symbol_that_is_led_elsewhere_again_is_left_alone(
    redis: Redis,
) -> None:
    outbox = Outbox(redis, now_ms=lambda: 1_000, limits=Limits())
    outbox.inherit("AUSDT")
    outbox.forget("AUSDT")
    await turn(Outbox(redis, now_ms=lambda: 1_000, slots=lambda: ["AUSDT"], limits=Limits()))
    await turn(outbox)
    assert await slots(redis) == {"AUSDT"}
