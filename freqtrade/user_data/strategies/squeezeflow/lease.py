"""The lease of the one freqtrade that may enter trades.

Two of them on one Redis would each open a position on the same signal if a claim were lost, and
would share one account without knowing of each other's trades.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

LIFE_MS = 30_000
OWNER_FILE = ".executor_id"  # backups leave it out: two hosts restored from one must differ

TURN = """
-- KEYS: lease, fence, process of the holder
-- ARGV: owner, own token ('0': none yet), life in ms, '1' if it may be taken, own process
-- Returns: own token (0: not the holder), the lease as it stands, ms that it still lives
local lease = redis.call('GET', KEYS[1])
local mine = ARGV[1] .. ':'
if lease == mine .. ARGV[2] then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  return {ARGV[2], lease, ARGV[3]}
end
local ours = lease and string.sub(lease, 1, #mine) == mine
-- It was given to this process before, but the answer was lost.
if ours and redis.call('GET', KEYS[3]) == ARGV[5] then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  return {string.sub(lease, #mine + 1), lease, ARGV[3]}
end
-- A process that starts on the data of the holder goes on from it; the one before is deposed.
local heir = ours and ARGV[2] == '0'
if heir or (not lease and ARGV[4] == '1') then
  -- A token is never below the clock in ms, so that it grows even after Redis has lost its data.
  local clock = redis.call('TIME')
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  local token = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, now)
  token = string.format('%.0f', token)
  redis.call('SET', KEYS[2], token)
  redis.call('SET', KEYS[1], mine .. token, 'PX', ARGV[3])
  redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[3])
  return {token, mine .. token, ARGV[3]}
end
return {'0', lease or '', tostring(math.max(redis.call('PTTL', KEYS[1]), 0))}
"""

CLAIM = """
-- KEYS: lease, claim; ARGV: the lease as the holder knows it, life of the claim in s
-- Returns: 1 claimed, 0 claimed before, -1 not the holder of the lease
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
if redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[2]) then return 1 end
return 0
"""


class Answer(NamedTuple):
    """What `TURN` found. `token`: 0 if another one holds the lease. `left_ms`: its life."""

    token: int
    lease: str
    left_ms: int


NOT_KNOWN = Answer(0, "", 0)
"""Redis would not renew the lease, so nobody can tell whose it is."""


class Lease:
    """The lease as this process knows it; `answered` tells it of every turn.

    `owner` names the data this process works on, not the process: whoever starts on the same data
    goes on at once. `monotonic`: seconds.
    """

    def __init__(self, owner: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.owner = owner
        self._monotonic = monotonic
        self._process = uuid.uuid4().hex
        self._token = 0
        self._held = False
        self._asked = False
        self._other = ""
        self._other_until = 0.0

    @property
    def arguments(self) -> tuple[str, str, int, str, str]:
        """Arguments of `TURN`."""
        # Redis may have lost its data: the lease of another one ends when it would have ended.
        may_take = self._monotonic() >= self._other_until
        return self.owner, str(self._token), LIFE_MS, "1" if may_take else "0", self._process

    @property
    def value(self) -> str:
        """The lease as it stands in Redis while this process holds it."""
        return f"{self.owner}:{self._token}"

    @property
    def held(self) -> bool:
        """Whether the last turn found this process to be the holder."""
        return self._held

    @property
    def token(self) -> int:
        """Fencing token of the lease, 0 if it is not held."""
        return self._token if self._held else 0

    @property
    def other(self) -> str:
        """Who enters instead of this process, if that is known."""
        return self._other

    @property
    def problem(self) -> str:
        """Why this process may not enter; empty if it may, or has not asked yet."""
        if self._held or not self._asked:
            return ""
        if not self._other:
            return "Redis does not tell who may enter"
        left_s = max(0.0, self._other_until - self._monotonic())
        return f"another executor ({self._other}) may enter, its lease ends in {left_s:.0f} s"

    def answered(self, answer: Answer) -> bool:
        """Take note of a turn; whether that changed who may enter."""
        before = (self._held, self._other)
        self._asked = True
        self._held = answer.token > 0
        if self._held:
            self._token, self._other, self._other_until = answer.token, "", 0.0
        else:
            owner = answer.lease.rpartition(":")[0]
            if owner:
                self._other = owner if owner != self.owner else f"{owner}, on the same data"
                self._other_until = self._monotonic() + answer.left_ms / 1000
        return before != (self._held, self._other)


def owner_of(folder: Path) -> str:
    """The name of the data in `folder`, made up and kept there at first. Raises `OSError`."""
    file = folder / OWNER_FILE
    try:
        name = file.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        name = ""
    if not name or ":" in name or not name.isprintable():
        name = str(uuid.uuid4())
        file.write_text(name + "\n", encoding="ascii")
    return name
