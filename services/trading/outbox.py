"""All that strategy-runner writes to Redis, in one place and without making the cycle wait."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from logging import getLogger
from typing import TypeVar

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from aggr_server.log import kv
from services.core import names
from services.core.alerts import tell
from services.core.outage import Outage
from services.core.records import Alert, Signal
from services.influx_signal_manager import iso

MAX_WAITING = 1000
CLOSE_VALID_MS = 60_000
_GONE = object()
RETRY_CAP_S = 1.0

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

_log = getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class Outbox:
    """Collects what is to be written; `run` writes it in one transaction as soon as it is woken.

    While Redis is away the latest state of everything is kept and written on its return. A signal
    that is shown is written again at every `turn` (level-triggered), as long as `may_show` allows
    it for the symbol and it is valid; with `refresh` off it is written once.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        now_ms: Callable[[], int],
        may_show: Callable[[str], bool] = lambda _: True,
        refresh: bool = True,
        outage: Outage | None = None,
    ) -> None:
        self._outage = outage or Outage("Redis", "")
        self._redis = redis
        self._now_ms = now_ms
        self._may_show = may_show
        self._refresh = refresh
        self._wake = asyncio.Event()
        self._shown: dict[str, Signal] = {}
        self._unwritten: dict[str, Signal | object] = {}
        self._announced: deque[Signal] = deque(maxlen=MAX_WAITING)
        self._states: dict[str, str] = {}
        self._messages: deque[tuple[str, bytes]] = deque(maxlen=MAX_WAITING)
        self._alerts: deque[bytes] = deque(maxlen=names.ALERTS_LENGTH)
        self._values: dict[str, tuple[bytes | None, int]] = {}
        self._members: dict[tuple[str, str], int] = {}
        self._counts: Counter[str] = Counter()
        self._turned = False
        self._entries_current = True
        self.available = True

    def announce(self, signal: Signal) -> None:
        """Publish once, list in the history, and count."""
        self._announced.append(signal)
        self._counts["signals_published"] += signal.event != "CANCEL"
        self._wake.set()

    def show(self, signal: Signal) -> None:
        """Keep the signal in the symbol's key from now on."""
        self._shown[signal.symbol] = signal
        self._unwritten[signal.symbol] = signal
        self._wake.set()

    def withdraw(self, symbol: str) -> None:
        """Take the symbol's key away."""
        self._shown.pop(symbol, None)
        self._unwritten[symbol] = _GONE
        self._wake.set()

    def forget(self, symbol: str) -> None:
        """Stop writing the symbol's key, which another replica owns now."""
        self._shown.pop(symbol, None)
        self._unwritten.pop(symbol, None)

    def put(self, key: str, value: bytes | None, ttl_s: int = names.DAY_S, *, symbol: str = "") -> None:
        """Set a key, or delete it (None). Only the latest value is written."""
        self._values[key] = (value, ttl_s)

    def member(self, key: str, value: str, ttl_s: int, *, symbol: str = "") -> None:
        """Add to a set; remove if `ttl_s` is 0."""
        self._members[key, value] = ttl_s

    def count(self, name: str, by: int = 1) -> None:
        """Increase a counter that lives for a day."""
        self._counts[name] += by

    def status(self, symbol: str, state: str, message: dict[str, object]) -> None:
        """The symbol's state in the hash, and the transition on the channel."""
        self._states[symbol] = state
        self._messages.append((names.STATUS, _encode(message)))

    def alert(self, alert: Alert) -> None:
        """Tell the operator."""
        level = _log.error if alert.level == "critical" else _log.warning
        level("alert %s", kv(code=alert.code, symbol=alert.symbol, text=alert.text))
        self._alerts.append(_encode(alert))
        self._wake.set()

    def turn(self, *, entries_current: bool = True) -> None:
        """A cycle has ended: write everything.

        Entries are written again only if they have been judged by current data.
        """
        self._turned = True
        self._entries_current = entries_current
        self._counts["cycles"] += 1
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        delay_s = 0.05
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except RedisError as error:
                self._outage.failed(error)
                self.available = False
                self._wake.set()
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
                delay_s = min(RETRY_CAP_S, delay_s * 2)
                continue
            self._outage.over()
            self.available = True
            delay_s = 0.05

    async def flush(self) -> None:
        """Write what waits, in one transaction. Raises `redis.exceptions.RedisError`."""
        announced, messages = list(self._announced), list(self._messages)
        alerts, counts = list(self._alerts), Counter(self._counts)
        states, values, members = dict(self._states), dict(self._values), dict(self._members)
        unwritten, turned = dict(self._unwritten), self._turned
        async with self._redis.pipeline(transaction=True) as pipe:
            self._write_signals(pipe, announced, set(unwritten), turned)
            _write_values(pipe, values, members)
            for channel, message in messages:
                pipe.publish(channel, message)
            if states:
                pipe.hset(names.STATUS, mapping=states)  # type: ignore[arg-type]
            for alert in alerts:
                tell(pipe, alert)
            for name, by in counts.items():
                pipe.incrby(names.stat(name), by)
                pipe.expire(names.stat(name), names.DAY_S, nx=True)
            if turned:
                pipe.set(names.LAST_ACTIVITY, iso(self._now_ms()), ex=names.LAST_ACTIVITY_TTL_S)
            await pipe.execute()
        # Only now is it written; what came in meanwhile stays for the next time.
        _remove_same(self._unwritten, unwritten)
        self._turned = self._turned and not turned
        _drop(self._announced, len(announced))
        _drop(self._messages, len(messages))
        _drop(self._alerts, len(alerts))
        self._counts -= counts
        _remove_same(self._states, states)
        _remove_same(self._values, values)
        _remove_same(self._members, members)

    def _write_signals(
        self, pipe: Pipeline, announced: list[Signal], unwritten: set[str], turned: bool
    ) -> None:
        now_ms = self._now_ms()
        due = unwritten | (self._to_refresh() if turned and self._refresh else set())
        for symbol in sorted(due):
            if not self._may_show(symbol):
                continue
            signal = self._shown.get(symbol)
            if signal is None:
                pipe.delete(names.signal(symbol))
            elif self._valid(signal, now_ms):
                data = _encode(_refreshed(signal, now_ms))
                pipe.set(names.signal(symbol), data, ex=signal.ttl)
        for signal in announced:
            # What goes out says when it went out, also after an outage of Redis.
            data = _encode(msgspec.structs.replace(signal, refreshed_ms=now_ms))
            pipe.publish(names.SIGNALS_CHANNEL, data)
            pipe.lpush(names.history(signal.symbol), data)
            pipe.ltrim(names.history(signal.symbol), 0, names.SIGNAL_HISTORY_LENGTH - 1)
            pipe.expire(names.history(signal.symbol), names.DAY_S)

    def _to_refresh(self) -> set[str]:
        return {
            symbol
            for symbol, signal in self._shown.items()
            if self._entries_current or signal.action == "CLOSE"
        }

    @staticmethod
    def _valid(signal: Signal, now_ms: int) -> bool:
        return signal.action == "CLOSE" or now_ms <= signal.valid_until_ms


def _refreshed(signal: Signal, now_ms: int) -> Signal:
    if signal.action != "CLOSE":
        return msgspec.structs.replace(signal, refreshed_ms=now_ms)
    return msgspec.structs.replace(
        signal, refreshed_ms=now_ms, valid_until_ms=now_ms + CLOSE_VALID_MS
    )


def _write_values(
    pipe: Pipeline,
    values: dict[str, tuple[bytes | None, int]],
    members: dict[tuple[str, str], int],
) -> None:
    for key, (value, ttl_s) in values.items():
        if value is None:
            pipe.delete(key)
        else:
            pipe.set(key, value, ex=ttl_s)
    for (key, member), ttl_s in members.items():
        if ttl_s:
            pipe.sadd(key, member)
            pipe.expire(key, ttl_s)
        else:
            pipe.srem(key, member)


def _drop(queue: deque[T], count: int) -> None:
    for _ in range(min(count, len(queue))):
        queue.popleft()


def _remove_same(current: dict[K, V], written: dict[K, V]) -> None:
    for key, value in written.items():
        if current.get(key) is value:
            del current[key]
