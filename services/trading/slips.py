"""What waits to be written to Redis for one symbol, and the script by which only its leader can."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from services.core import names
from services.core.records import Signal

MAX_WAITING = 1000

WRITTEN, FENCED, NO_SLOT, TOO_MANY = 1, 0, -1, -2
"""Answers of `WRITE`. Unless `WRITTEN`, nothing was."""

WRITE = """
-- KEYS: fence of the symbol, slots, entries of the last minute
-- ARGV: token of the lease (empty: there are no replicas); of an entry, else empty: signal id,
--       symbol, now in ms, until when the slot is taken in ms, most slots, most entries in a
--       minute; then the commands, each with the number of its words before it
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' then
  local now = tonumber(ARGV[4])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  local taken = redis.call('ZCARD', KEYS[2])
  if redis.call('ZSCORE', KEYS[2], ARGV[3]) then taken = taken - 1 end
  if taken >= tonumber(ARGV[6]) then return -1 end
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - 60000)
  local known = redis.call('ZSCORE', KEYS[3], ARGV[2])
  if not known and redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[7]) then return -2 end
  redis.call('ZADD', KEYS[3], now, ARGV[2])
  redis.call('PEXPIRE', KEYS[3], 60000)
  redis.call('ZADD', KEYS[2], ARGV[5], ARGV[3])
end
-- ONCE key ttl count: the next `count` commands only if the key is not there yet
local at, skipped = 8, 0
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  if skipped > 0 then
    skipped = skipped - 1
  elseif ARGV[at + 1] == 'ONCE' then
    local first = redis.call('SET', ARGV[at + 2], '1', 'NX', 'EX', ARGV[at + 3])
    if not first then skipped = tonumber(ARGV[at + 4]) end
  else
    redis.call(unpack(ARGV, at + 1, last))
  end
  at = last + 1
end
return 1
"""

Argument = bytes | str | int
Command = tuple[Argument, ...]
NO_ENTRY: Command = ("",) * 6


@dataclass(slots=True)
class Slip:
    """Of values only the latest counts. `key`: whether the signal's key is to be written.

    `afterwards`: what is to be done here once all of it is written.
    """

    announced: deque[Signal] = field(default_factory=lambda: deque(maxlen=MAX_WAITING))
    messages: deque[tuple[str, bytes]] = field(default_factory=lambda: deque(maxlen=MAX_WAITING))
    values: dict[str, tuple[bytes | None, int]] = field(default_factory=dict)
    members: dict[tuple[str, str], int] = field(default_factory=dict)
    fields: dict[tuple[str, str], bytes | None] = field(default_factory=dict)
    afterwards: deque[Callable[[], None]] = field(default_factory=lambda: deque(maxlen=MAX_WAITING))
    acknowledged: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_WAITING))
    state: str = ""
    key: bool = False

    def before(self, later: Slip) -> Slip:
        """This one and a later one as one."""
        self.announced += later.announced
        self.messages += later.messages
        self.afterwards += later.afterwards
        self.acknowledged += later.acknowledged
        self.values.update(later.values)
        self.members.update(later.members)
        self.fields.update(later.fields)
        self.state = later.state or self.state
        self.key = self.key or later.key
        return self

    @property
    def entry(self) -> Signal | None:
        """The entry announced by this slip, unless it is withdrawn again."""
        last = self.announced[-1] if self.announced else None
        return last if last is not None and last.event == "ENTRY" else None

    def without(self, entry: Signal) -> None:
        """Tell nothing about a signal that was not published."""
        others = [s for s in self.announced if s.signal_id != entry.signal_id]
        self.announced = deque(others, maxlen=MAX_WAITING)

    def commands(self, symbol: str, now_ms: int) -> list[Command]:
        """All but the signal's key."""
        found: list[Command] = []
        for signal in self.announced:
            # What goes out says when it went out, also after an outage of Redis.
            data = msgspec.json.encode(msgspec.structs.replace(signal, refreshed_ms=now_ms))
            history = names.history(symbol)
            # An answer of Redis may be lost, and then all is sent again.
            done = names.announced(signal.signal_id, signal.event)
            counted = signal.event != "CANCEL"
            found += [
                ("ONCE", done, names.DAY_S, 4 + 2 * counted),
                ("PUBLISH", names.SIGNALS_CHANNEL, data),
                ("LPUSH", history, data),
                ("LTRIM", history, 0, names.SIGNAL_HISTORY_LENGTH - 1),
                ("EXPIRE", history, names.DAY_S),
            ]
            if counted:
                counter = names.stat("signals_published")
                found += [("INCR", counter), ("EXPIRE", counter, names.DAY_S, "NX")]
        for key, (value, ttl_s) in self.values.items():
            found.append(("DEL", key) if value is None else ("SET", key, value, "EX", ttl_s))
        for (key, member), ttl_s in self.members.items():
            if ttl_s:
                found += [("SADD", key, member), ("EXPIRE", key, ttl_s)]
            else:
                found.append(("SREM", key, member))
        for (key, name), text in self.fields.items():
            if text is None:
                found.append(("HDEL", key, name))
            else:
                found += [("HSET", key, name, text), ("EXPIRE", key, names.DAY_S)]
        found += [("PUBLISH", channel, message) for channel, message in self.messages]
        if self.state:
            found.append(("HSET", names.STATUS, symbol, self.state))
        if self.acknowledged:
            found.append(("XACK", names.FILLS_STREAM, names.FILLS_GROUP, *self.acknowledged))
        return found
