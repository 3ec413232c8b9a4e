"""Redis as the executor uses it: every call ends within a time limit, whatever Redis does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from logging import getLogger
from typing import Any, NamedTuple, TypeVar

import msgspec
from redis import Redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.exceptions import RedisError
from redis.retry import Retry

from aggr_server.log import kv
from aggr_server.settings import Connections
from services.core import alerts, names
from services.core.records import Alert, Fill, Heartbeat
from squeezeflow import lease
from squeezeflow.lease import Lease

CALL_LIMIT_S = 0.5
MAX_DRAINED = 100
_LEASE = (names.EXECUTOR_LEASE, names.EXECUTOR_FENCE, names.EXECUTOR_PROCESS)

# A refused signal is claimed and reported in one step, so that it is never both reported as
# refused and executed later. Claimed already: it was executed or reported, nothing to say. Without
# the lease: it is for another one to judge.
_REFUSE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return end
if redis.call('SET', KEYS[2], ARGV[2], 'NX', 'EX', ARGV[3]) then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', 'data', ARGV[5])
end
"""

_REPLACE = """
if (redis.call('GET', KEYS[1]) or '') == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end
"""

T = TypeVar("T")
_log = getLogger(__name__)


class Seen(NamedTuple):
    """What one look at Redis found. `signals`: values of the keys in the order asked for."""

    signals: list[bytes | None]
    halt: bytes | None


class NotHolder(Exception):
    """Another executor may enter trades, or nobody may."""


class RedisAway(Exception):
    """Redis did not answer in time. Nothing is known about a write that was under way."""


class Link:
    """Connection to Redis through one helper thread.

    The thread takes the waiting: sockets have time limits, but looking up a host's name has none,
    and the caller is the loop that watches stops and exits.
    """

    def __init__(self, settings: Connections) -> None:
        self._redis = Redis(
            host=settings.redis_host,
            port=settings.redis_port,
            db=settings.redis_db,
            password=settings.redis_password or None,
            socket_timeout=CALL_LIMIT_S,
            socket_connect_timeout=CALL_LIMIT_S,
            socket_keepalive=True,
            health_check_interval=15,
            retry=Retry(NoBackoff(), 0),
        )
        self._pubsub: PubSub | None = None
        self._thread = ThreadPoolExecutor(1, "redis")
        self._under_way: Future[Any] | None = None
        self._lock = threading.Lock()
        self._read_only = False
        self.away = False

    def wait(self, limit_s: float) -> None:
        """Return when a signal has been announced, or after `limit_s`, also without Redis."""
        started = time.monotonic()
        try:
            self._call(lambda: self._next_message(limit_s), limit_s + CALL_LIMIT_S)
        except RedisAway:
            time.sleep(max(0.0, limit_s - (time.monotonic() - started)))

    def turn(self, own: Lease, symbols: Sequence[str]) -> tuple[Seen, lease.Answer]:
        """Renew or take the lease, and look at signals and kill switch. Raises `RedisAway`.

        A Redis that takes no writes still tells of exits: the lease is `NOT_KNOWN` then.
        """
        keys = _keys(symbols)

        def look() -> tuple[Seen, lease.Answer]:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.eval(lease.TURN, len(_LEASE), *_LEASE, *own.arguments)
                pipe.mget(keys)
                answer, values = pipe.execute(raise_on_error=False)
            if isinstance(values, RedisError):
                raise values
            return _seen(values), self._answer(answer)

        return self._call(look)

    def look(self, symbol: str) -> Seen:
        """Look at one signal and the kill switch. Raises `RedisAway`."""
        return _seen(self._call(lambda: self._redis.mget(_keys([symbol]))))

    def restore_halt(self, seen: bytes | None, value: bytes) -> None:
        """Set the kill switch unless somebody has since it was seen. Raises `RedisAway`."""
        self._call(lambda: self._redis.eval(_REPLACE, 1, names.HALT, seen or b"", value))

    def claim(self, signal_id: str, own: Lease) -> bool:
        """Take the only right to execute a signal; False if it was taken.

        Raises `NotHolder` if the lease is not this executor's any more, and `RedisAway`.
        """
        keys = (names.EXECUTOR_LEASE, names.executed(signal_id))
        answer = self._call(lambda: self._redis.eval(lease.CLAIM, 2, *keys, own.value, names.DAY_S))
        if answer == -1:
            raise NotHolder("the lease of the executor was lost")
        return bool(answer == 1)

    def refuse(self, fill: Fill, own: Lease) -> None:
        """Report a refusal once, and see to it that the signal is never executed."""
        data = msgspec.json.encode(fill)
        keys = (names.EXECUTOR_LEASE, names.executed(fill.signal_id), names.FILLS_STREAM)
        values = (own.value, f"refused:{fill.reason}", names.DAY_S, names.FILLS_MAXLEN, data)
        self._call(lambda: self._redis.eval(_REFUSE, 3, *keys, *values))

    def alert(self, alert: Alert) -> None:
        """Tell the operator. Raises `RedisAway`."""
        data = msgspec.json.encode(alert)

        def tell() -> None:
            with self._redis.pipeline(transaction=True) as pipe:
                for command in alerts.told(data):
                    pipe.execute_command(*command)  # type: ignore[no-untyped-call]
                pipe.execute()

        self._call(tell)

    def send(self, fill: Fill, *, counter: str | None = None) -> str:
        """Append to the fills stream and return the entry's id. Raises `RedisAway`."""
        data = msgspec.json.encode(fill)

        def append() -> str:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.xadd(names.FILLS_STREAM, {"data": data}, maxlen=names.FILLS_MAXLEN)
                if counter:
                    pipe.incr(names.stat(counter))
                    pipe.expire(names.stat(counter), names.DAY_S, nx=True)
                return str(pipe.execute()[0].decode())

        return self._call(append)

    def beat(self, heartbeat: Heartbeat) -> None:
        """Show a sign of life. Raises `RedisAway`."""
        data = msgspec.json.encode(heartbeat)

        def show() -> None:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(names.heartbeat(heartbeat.service), data, ex=names.HEARTBEAT_TTL_S)
                pipe.publish(names.HEARTBEAT_CHANNEL, data)
                pipe.execute()

        self._call(show)

    def close(self) -> None:
        """Let go of the connections."""
        self._thread.shutdown()
        if self._pubsub is not None:
            self._pubsub.close()
        self._redis.close()

    def _answer(self, answer: Any) -> lease.Answer:
        if isinstance(answer, RedisError):
            if not self._read_only:
                self._read_only = True
                _log.error(
                    "Redis takes no writes, no entries until it does; exits go on %s",
                    kv(error=answer),
                )
            return lease.NOT_KNOWN
        self._read_only = False
        token, value, left_ms = answer
        return lease.Answer(int(token), value.decode(), int(left_ms))

    def _next_message(self, limit_s: float) -> None:
        pubsub = self._pubsub or PubSub(self._redis.connection_pool, ignore_subscribe_messages=True)
        try:
            if self._pubsub is None:
                pubsub.subscribe(names.SIGNALS_CHANNEL)
                self._pubsub = pubsub
            ends = time.monotonic() + limit_s
            # Confirmations of subscriptions and pings come back as None before the time is up.
            while (left := ends - time.monotonic()) > 0:
                if pubsub.get_message(timeout=left) is not None:
                    break
            for _ in range(MAX_DRAINED):
                if pubsub.get_message(timeout=0) is None:
                    break
        except (RedisError, OSError):
            self._pubsub = None
            with suppress(RedisError, OSError):
                pubsub.close()
            raise

    def _call(self, operation: Callable[[], T], limit_s: float = CALL_LIMIT_S) -> T:
        with self._lock:
            if self._under_way is not None and not self._under_way.done():
                raise RedisAway("the last call has not ended yet")
            future = self._thread.submit(operation)
            self._under_way = future
        try:
            result = future.result(limit_s)
        except (RedisError, OSError) as error:  # the time limit of the future is an OSError, too
            self._note_away(str(error) or f"no answer within {limit_s:g} s")
            raise RedisAway(str(error)) from error
        if self.away:
            self.away = False
            _log.info("Redis answers again")
        return result

    def _note_away(self, cause: str) -> None:
        if not self.away:
            self.away = True
            _log.warning(
                "Redis does not answer, no entries until it does; stops go on %s", kv(cause=cause)
            )


def _keys(symbols: Sequence[str]) -> list[str]:
    return [names.HALT, *(names.signal(symbol) for symbol in symbols)]


def _seen(values: Sequence[object]) -> Seen:
    halt, *signals = (value if isinstance(value, bytes) else None for value in values)
    return Seen(signals, halt)
