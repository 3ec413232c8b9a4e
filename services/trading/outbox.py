"""All that strategy-runner writes to Redis, in one place and without making the cycle wait."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from logging import getLogger

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.log import kv
from services.core import names
from services.core.alerts import told
from services.core.outage import Outage
from services.core.records import Alert, Signal
from services.core.transaction import Command, transact
from services.influx_signal_manager import iso
from services.signal_validator import Limits
from services.trading.signals import CLOSE_VALID_MS
from services.trading.slips import FENCED, NO_ENTRY, NO_SLOT, WRITE, WRITTEN, Argument, Slip

RETRY_CAP_S = 1.0
SLOT_KEPT_MS = 150_000
"""A slot that no replica confirms any more is free again after this time."""

ROUTINE_TURNS = 10
"""Signs of life and slots that have not changed are written after as many turns."""

_log = getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class Outbox:
    """Collects what is to be written; `run` writes it in one transaction as soon as it is woken.

    While Redis is away the latest state of everything is kept and written on its return. A signal
    that is shown is written again at every `turn` (level-triggered), as long as `may_show` allows
    it for the symbol and it is valid; with `refresh` off it is written once.

    What concerns a symbol is written if `fence` of it is still the newest token (None: there are
    no replicas), else kept until the lease has been renewed or `forget` gives it up. With `limits`
    an entry is only published if there is a slot for it among those of all replicas, else
    `on_refused` is told. `slots`: the symbols led here that take one, until they no longer do.
    `on_written` is told that a turn is written, and which signals with it.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        now_ms: Callable[[], int],
        may_show: Callable[[str], bool] = lambda _: True,
        fence: Callable[[str], int] | None = None,
        slots: Callable[[], Collection[str]] = tuple,
        limits: Limits | None = None,
        refresh: bool = True,
        outage: Outage | None = None,
    ) -> None:
        self._outage = outage or Outage("Redis", "")
        self._redis = redis
        self._now_ms = now_ms
        self._may_show = may_show
        self._fence = fence
        self._slots = slots
        self._limits = limits
        self._refresh = refresh
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._shown: dict[str, Signal] = {}
        self._slips: dict[str, Slip] = {}
        self._under_way: dict[str, Slip] = {}
        self._alerts: deque[bytes] = deque(maxlen=names.ALERTS_LENGTH)
        self._counts: Counter[str] = Counter()
        self._slotted: set[str] = set()
        self._inherited: set[str] = set()
        self._turned = False
        self._routine_in = 0
        self._entries_current = True
        self.available = True
        self.on_refused: Callable[[Signal, str], None] = lambda _signal, _reason: None
        self.on_slots: Callable[[frozenset[str]], None] = lambda _: None
        self.on_written: Callable[[Sequence[Signal]], None] = lambda _signals: None

    def announce(self, signal: Signal) -> None:
        """Publish once, list in the history, and count."""
        self._slip(signal.symbol).announced.append(signal)
        self._wake.set()

    def show(self, signal: Signal) -> None:
        """Keep the signal in the symbol's key from now on."""
        self._shown[signal.symbol] = signal
        self._slip(signal.symbol).key = True
        self._wake.set()

    def withdraw(self, symbol: str) -> None:
        """Take the symbol's key away."""
        self._shown.pop(symbol, None)
        self._slip(symbol).key = True
        self._wake.set()

    def forget(self, symbol: str) -> None:
        """Write nothing more about the symbol, for which another replica decides now."""
        self._shown.pop(symbol, None)
        self._slips.pop(symbol, None)
        self._under_way.pop(symbol, None)
        self._freed(symbol)

    def inherit(self, symbol: str) -> None:
        """Free the slot that the symbol's last leader may have left, unless it takes one here."""
        self._inherited.add(symbol)

    def put(
        self, key: str, value: bytes | None, ttl_s: int = names.DAY_S, *, symbol: str = ""
    ) -> None:
        """Set a key, or delete it (None). Only the latest value is written."""
        self._slip(symbol).values[key] = (value, ttl_s)

    def member(self, key: str, value: str, ttl_s: int, *, symbol: str = "") -> None:
        """Add to a set; remove if `ttl_s` is 0."""
        self._slip(symbol).members[key, value] = ttl_s

    def field(self, key: str, name: str, value: bytes | None, *, symbol: str) -> None:
        """Set a field of a hash that lives for a day, or delete it (None)."""
        self._slip(symbol).fields[key, name] = value

    def count(self, name: str, by: int = 1) -> None:
        """Increase a counter that lives for a day."""
        self._counts[name] += by

    def status(self, symbol: str, state: str, message: dict[str, object]) -> None:
        """The symbol's state in the hash, and the transition on the channel."""
        slip = self._slip(symbol)
        slip.state = state
        slip.messages.append((names.STATUS, _encode(message)))
        self._wake.set()

    def afterwards(self, symbol: str, action: Callable[[], None]) -> None:
        """Do something once what was told about the symbol so far is written."""
        self._slip(symbol).afterwards.append(action)
        self._wake.set()

    def acknowledge(self, symbol: str, entry_id: bytes) -> None:
        """Acknowledge an entry of the fills stream together with what it led to."""
        self._slip(symbol).acknowledged.append(entry_id)
        self._wake.set()

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
        async with self._writing:
            slips, self._slips = self._slips, {}
            turned, self._turned = self._turned, False
            self._under_way = dict(slips)
            try:
                await self._write(slips, turned=turned)
            except BaseException:
                self._turned = self._turned or turned
                for symbol, slip in slips.items():
                    self._put_back(symbol, slip)
                raise
            finally:
                self._under_way = {}

    async def _write(self, slips: dict[str, Slip], *, turned: bool) -> None:
        now_ms = self._now_ms()
        routine = turned and self._routine_in <= 0
        alerts, counts = list(self._alerts), self._due_counts(routine=routine)
        if turned and self._refresh:
            for symbol in self._to_refresh():
                slips.setdefault(symbol, Slip()).key = True
        slots = self._due_slots(slips, routine=routine) if turned else {}
        for symbol in slots:
            slips.setdefault(symbol, Slip())
        commands = [self._ask(symbol, slip, now_ms, slots) for symbol, slip in slips.items()]
        read_slots = self._limits is not None and bool(routine or slots)
        if read_slots:
            commands.append(("ZRANGEBYSCORE", names.SLOTS, f"({now_ms}", "+inf"))
        commands += _common(alerts, counts, now_ms if routine else None)
        answers = await transact(self._redis, commands)
        # Only now is it written; what came in meanwhile stays for the next time.
        if turned:
            self._routine_in = ROUTINE_TURNS - 1 if routine else self._routine_in - 1
        self._counts -= counts
        for _ in range(min(len(alerts), len(self._alerts))):
            self._alerts.popleft()
        if read_slots:
            self.on_slots(frozenset(name.decode() for name in answers[len(slips)]))
        written = list(slips.items())
        slips.clear()
        published: list[Signal] = []
        for (symbol, slip), answer in zip(written, answers, strict=False):
            if answer == WRITTEN:
                published += slip.announced
                if slots.get(symbol) is False:
                    self._freed(symbol)
            self._settle(symbol, slip, int(answer))
        if turned:
            self.on_written(published)

    def _due_counts(self, *, routine: bool) -> Counter[str]:
        due = routine or self._counts.keys() - {"cycles"}
        return Counter(self._counts) if due else Counter()

    def _ask(self, symbol: str, slip: Slip, now_ms: int, slots: Mapping[str, bool]) -> Command:
        token = "" if self._fence is None or not symbol else str(self._fence(symbol))
        commands = slip.commands(symbol, now_ms)
        if slip.key and (self._may_show(symbol) or symbol not in self._shown):
            commands += self._key_commands(symbol, now_ms)
        elif slip.key:
            self._slip(symbol).key = True
        if slots.get(symbol):
            commands.append(("ZADD", names.SLOTS, now_ms + SLOT_KEPT_MS, symbol))
        elif symbol in slots:
            commands.append(("ZREM", names.SLOTS, symbol))
        keys = (names.lease_fence(symbol), names.SLOTS, names.ENTRIES)
        asked = NO_ENTRY
        if self._limits is not None and (entry := slip.entry) is not None:
            most = (self._limits.max_open_positions, self._limits.per_minute)
            asked = (entry.signal_id, symbol, now_ms, now_ms + SLOT_KEPT_MS, *most)
        if slots.get(symbol) or asked != NO_ENTRY:
            # Even if the answer is lost: it may have been taken all the same.
            self._slotted.add(symbol)
        words = (word for command in commands for word in (len(command), *command))
        return ("EVAL", WRITE, len(keys), *keys, token, *asked, *words)

    def _key_commands(self, symbol: str, now_ms: int) -> list[tuple[Argument, ...]]:
        signal, key = self._shown.get(symbol), names.signal(symbol)
        if signal is None:
            return [("DEL", key)]
        if signal.action != "CLOSE" and now_ms > signal.valid_until_ms:
            return []
        return [("SET", key, _encode(_refreshed(signal, now_ms)), "EX", signal.ttl)]

    def _due_slots(self, slips: Mapping[str, Slip], *, routine: bool) -> dict[str, bool]:
        """Slots to be confirmed, and those to be freed (False). None with a lease not certain."""
        if self._limits is None:
            return {}
        asked = self._asked_slots(slips)
        taken = {s for s in self._slots() if self._may_show(s)} - asked
        left = self._slotted | self._inherited
        ended = {s for s in left - taken - asked if self._may_show(s)}
        if routine or ended or taken - self._slotted:
            return dict.fromkeys(sorted(taken), True) | dict.fromkeys(sorted(ended), False)
        return {}

    def _freed(self, symbol: str) -> None:
        self._slotted.discard(symbol)
        self._inherited.discard(symbol)

    def _asked_slots(self, slips: Mapping[str, Slip]) -> set[str]:
        return {s for s, slip in (*slips.items(), *self._slips.items()) if slip.entry}

    def _settle(self, symbol: str, slip: Slip, answer: int) -> None:
        entry = slip.entry
        if answer == WRITTEN:
            for action in slip.afterwards:
                action()
        elif answer == FENCED:
            # Either the lease is lost, and `forget` follows, or its token is about to be renewed.
            self._put_back(symbol, slip)
        elif entry is not None:
            slip.announced.pop()
            self._put_back(symbol, slip)
            full = "no free slot" if answer == NO_SLOT else "too many entries in a minute"
            self.on_refused(entry, full)
            self._slip(symbol).without(entry)

    def _put_back(self, symbol: str, slip: Slip) -> None:
        forgotten = symbol not in self._under_way
        if forgotten or (symbol and self._fence is not None and not self._fence(symbol)):
            return
        self._slips[symbol] = slip.before(self._slips.get(symbol, Slip()))

    def _slip(self, symbol: str) -> Slip:
        return self._slips.setdefault(symbol, Slip())

    def _to_refresh(self) -> set[str]:
        return {
            symbol
            for symbol, signal in self._shown.items()
            if (self._entries_current or signal.action == "CLOSE") and self._may_show(symbol)
        }


def _common(
    alerts: Sequence[bytes], counts: Counter[str], turned_ms: int | None
) -> Iterator[Command]:
    for alert in alerts:
        yield from told(alert)
    for name, by in counts.items():
        yield ("INCRBY", names.stat(name), by)
        yield ("EXPIRE", names.stat(name), names.DAY_S, "NX")
    if turned_ms is not None:
        yield ("SET", names.LAST_ACTIVITY, iso(turned_ms), "EX", names.LAST_ACTIVITY_TTL_S)


def _refreshed(signal: Signal, now_ms: int) -> Signal:
    if signal.action != "CLOSE":
        return msgspec.structs.replace(signal, refreshed_ms=now_ms)
    return msgspec.structs.replace(
        signal, refreshed_ms=now_ms, valid_until_ms=now_ms + CLOSE_VALID_MS
    )
