from __future__ import annotations

import msgspec
from redis.asyncio import Redis

from services.core import names
from services.core.records import Signal
from services.trading.outbox import Outbox
from tests.unit.test_signal_validator import signal as a_signal


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
