"""Redis as the executor uses it: every call ends within a time limit, whatever Redis does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from logging import getLogger
from typing import Any, TypeVar

import msgspec
from redis import Redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.exceptions import RedisError
from redis.retry import Retry

from aggr_server.log import kv
from aggr_server.settings import Connections
from services.core import names
from services.core.records import Fill, Heartbeat

CALL_LIMIT_S = 0.5
MAX_DRAINED = 100

# A refused signal is claimed and reported in one step, so that it is never both reported as
# refused and executed later. Claimed already: it was executed or reported, nothing to say.
_REFUSE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'data', ARGV[4])
end
"""

T = TypeVar("T")
_log = getLogger(__name__)


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
        self.away = False

    def wait(self, limit_s: float) -> None:
        """Return when a signal has been announced, or after `limit_s`, also without Redis."""
        started = time.monotonic()
        try:
            self._call(lambda: self._next_message(limit_s), limit_s + CALL_LIMIT_S)
        except RedisAway:
            time.sleep(max(0.0, limit_s - (time.monotonic() - started)))

    def signals(self, symbols: Sequence[str]) -> list[bytes | None]:
        """What stands in the signal keys, in the order of `symbols`. Raises `RedisAway`."""
        keys = [names.signal(symbol) for symbol in symbols]
        if not keys:
            return []
        values = self._call(lambda: self._redis.mget(keys))
        return [value if isinstance(value, bytes) else None for value in values]

    def claim(self, signal_id: str) -> bool:
        """Take the only right to execute a signal; False if it was taken. Raises `RedisAway`."""
        key = names.executed(signal_id)
        return bool(self._call(lambda: self._redis.set(key, "1", nx=True, ex=names.DAY_S)))

    def refuse(self, fill: Fill) -> None:
        """Report a refusal once, and see to it that the signal is never executed."""
        data = msgspec.json.encode(fill)
        keys = [names.executed(fill.signal_id), names.FILLS_STREAM]
        claim = f"refused:{fill.reason}"
        self._call(
            lambda: self._redis.eval(
                _REFUSE, 2, *keys, claim, names.DAY_S, names.FILLS_MAXLEN, data
            )
        )

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

    def _next_message(self, limit_s: float) -> None:
        try:
            if self._pubsub is None:
                self._pubsub = PubSub(self._redis.connection_pool, ignore_subscribe_messages=True)
                self._pubsub.subscribe(names.SIGNALS_CHANNEL)
            ends = time.monotonic() + limit_s
            # Confirmations of subscriptions and pings come back as None before the time is up.
            while (left := ends - time.monotonic()) > 0:
                if self._pubsub.get_message(timeout=left) is not None:
                    break
            for _ in range(MAX_DRAINED):
                if self._pubsub.get_message(timeout=0) is None:
                    break
        except (RedisError, OSError):
            if self._pubsub is not None:
                with suppress(RedisError, OSError):
                    self._pubsub.close()
                self._pubsub = None
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
