"""A seeded random schedule of everything that can go wrong in a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

import msgspec

from aggr_server import exchanges
from services.simulator import venues as simulated
from services.simulator.fault_plan import (
    FOREVER_MS,
    ClockOffset,
    Close,
    Drop,
    Duplicate,
    Fault,
    FaultPlan,
    Garble,
    Hang,
    Huge,
    Leave,
    Mute,
    Pulse,
    Refuse,
    Reorder,
    Reset,
    RestLag,
    Slow,
    Status,
)

QUIET_START_S = 15
QUIET_END_S = 20
LEAST_MUTE_S = 40
FAULTS_PER_MINUTE = 5.0
KILL_EVERY_S = 400
EVERYWHERE = 0.1
"""Chance that a fault concerns all venues at once."""

AROUND_MS = 60_000

Victim = Literal["collector", "influx"]
Make = Callable[[Random], Fault]


@dataclass(frozen=True)
class Span:
    """Where and when a fault holds. Times in milliseconds."""

    venues: tuple[str, ...]
    from_ms: int
    until_ms: int


@dataclass(frozen=True)
class Kill:
    """`kill -9` at `at_ms`; started again `down_s` later."""

    victim: Victim
    at_ms: int
    down_s: float


@dataclass(frozen=True)
class Schedule:
    """All that happens in a run."""

    faults: tuple[Fault, ...]
    kills: tuple[Kill, ...]

    def hides_liquidations(self, market: str, second: int) -> bool:
        """Whether forced orders of that time were not sent, which nobody can notice."""
        venue, moment_ms = market.partition(":")[0], second * 1000
        return any(
            isinstance(f, Mute)
            and "liquidations" in f.kinds
            and venue in f.venues
            and f.from_ms - 1000 < moment_ms < f.until_ms
            for f in self.faults
        )

    @property
    def plan(self) -> FaultPlan:
        """What the simulator does."""
        return FaultPlan(self.faults)

    def around(self, market: str, second: int) -> list[str]:
        """What happened to a market within a minute of a second, times relative to it."""
        venue, moment_ms = market.partition(":")[0], second * 1000
        found = [
            (f.from_ms, _shown(f, moment_ms))
            for f in self.faults
            if venue in f.venues and f.from_ms - AROUND_MS < moment_ms < f.until_ms + AROUND_MS
        ]
        found += [
            (k.at_ms, f"kill {k.victim} at {(k.at_ms - moment_ms) / 1000:+.1f} for {k.down_s:.0f}")
            for k in self.kills
            if abs(k.at_ms - moment_ms) < AROUND_MS
        ]
        return [text for _, text in sorted(found)]


def draw(
    seed: int, venues: Sequence[str], start_ms: int, minutes: float, *, killing: bool = True
) -> Schedule:
    """The schedule of `minutes` from `start_ms` on; the same for the same arguments."""
    luck = Random(seed)
    first, last = start_ms + QUIET_START_S * 1000, start_ms + int(minutes * 60_000)
    last -= QUIET_END_S * 1000
    faults: list[Fault] = []
    kinds = _endless(luck, tuple(KINDS))
    for _ in range(max(len(KINDS), round(FAULTS_PER_MINUTE * minutes))):
        name = next(kinds)
        make, longest_s = KINDS[name]
        able = _able(name, venues)
        if not able:
            continue
        everywhere = luck.random() < EVERYWHERE
        chosen = able if everywhere else luck.sample(able, min(len(able), luck.randint(1, 3)))
        begin = luck.randrange(first, last)
        end = min(last, begin + luck.randint(1000, longest_s * 1000))
        faults.append(_placed(make(luck), Span(tuple(chosen), begin, end + 1)))
    kills = tuple(_kills(luck, first, last)) if killing else ()
    faults = [_noticed(f, faults, kills) if isinstance(f, Mute) else f for f in faults]
    return Schedule(tuple(sorted(faults, key=lambda fault: fault.from_ms)), kills)


def _noticed(mute: Mute, faults: Sequence[Fault], kills: Sequence[Kill]) -> Mute:
    """A mute that lasts on after whatever makes the collector listen anew.

    A connection that has just been made needs its time to be found mute.
    """
    least_ms, until_ms = LEAST_MUTE_S * 1000, mute.until_ms
    anew = [
        min(fault.until_ms, until_ms)
        for fault in faults
        if isinstance(fault, Pulse | Refuse | Slow) and set(fault.venues) & set(mute.venues)
        if fault.from_ms < until_ms and fault.until_ms > mute.from_ms
    ]
    anew += [
        min(ends_ms, until_ms)
        for kill in kills
        if kill.victim == "collector"
        for ends_ms in [kill.at_ms + int(kill.down_s * 1000) + least_ms // 2]
        if mute.from_ms < ends_ms
    ]
    longest_ms = max((at + least_ms for at in anew), default=until_ms)
    if longest_ms <= until_ms:
        return mute
    return _noticed(msgspec.structs.replace(mute, until_ms=longest_ms), faults, kills)


def _kills(luck: Random, first: int, last: int) -> Iterator[Kill]:
    victims: tuple[Victim, ...] = ("collector", "influx")
    count = max(2, (last - first) // (KILL_EVERY_S * 1000) // 2 * 2)
    step = (last - first) // count
    for number in range(count):
        at_ms = first + number * step + luck.randrange(step // 2)
        yield Kill(victims[number % 2], at_ms, luck.uniform(0, 30))


def _shown(fault: Fault, moment_ms: int) -> str:
    begin, end = ((at - moment_ms) / 1000 for at in (fault.from_ms, fault.until_ms))
    details = {
        name: value
        for name, value in msgspec.structs.asdict(fault).items()
        if name not in ("venues", "from_ms", "until_ms")
    }
    return f"{type(fault).__name__} {begin:+.1f} to {end:+.1f} {details}"


def _endless(luck: Random, names: tuple[str, ...]) -> Iterator[str]:
    """All names in random order, again and again."""
    while True:
        yield from luck.sample(names, len(names))


def _able(name: str, venues: Sequence[str]) -> list[str]:
    """The venues at which a fault can be had without it going unnoticed."""
    known = simulated.known()
    if name == "drop":
        return [v for v in venues if known[v].gapless and exchanges.get(v).gapless]
    if name == "leave":
        return [v for v in venues if known[v].farewell is not simulated.Venue.farewell]
    return list(venues)


def _placed(fault: Fault, span: Span) -> Fault:
    """The fault at its place; a mute lasts long enough to be noticed.

    That a few seconds were left out, nobody could know. A subscription that is dead for good needs
    another connection.
    """
    until_ms = span.until_ms
    if isinstance(fault, Mute):
        until_ms = max(until_ms, span.from_ms + LEAST_MUTE_S * 1000)
        if fault.connections == "present":
            until_ms = FOREVER_MS
    return msgspec.structs.replace(
        fault, venues=span.venues, from_ms=span.from_ms, until_ms=until_ms
    )


def _mute(luck: Random) -> Fault:
    if luck.random() < 0.5:
        return Mute(kinds=("trades",), connections="present")
    return Mute(kinds=luck.choice((("trades",), ("trades", "liquidations"), ("liquidations",))))


def _status(luck: Random) -> Fault:
    status, wait_s = luck.choice(((429, 5), (429, 20), (418, 10), (451, 0), (503, 0)))
    connect, rest = luck.choice(((True, True), (True, False), (False, True)))
    probability = luck.choice((1.0, 0.5))
    return Status(
        status=status, retry_after_s=wait_s, connect=connect, rest=rest, probability=probability
    )


KINDS: dict[str, tuple[Make, int]] = {
    "mute": (_mute, 60),
    "drop": (lambda r: Drop(probability=r.choice((0.01, 0.2))), 20),
    "duplicate": (lambda r: Duplicate(probability=0.3, within_ms=r.choice((0, 3000))), 60),
    "reorder": (lambda r: Reorder(probability=0.01, within_ms=2000), 60),
    "garble": (lambda r: Garble(probability=r.choice((0.005, 0.05))), 30),
    "huge": (lambda r: Huge(probability=0.01), 5),
    "slow": (
        lambda r: Slow(latency_ms=r.randint(100, 3000), bytes_per_s=r.choice((0, 50_000))),
        30,
    ),
    "reset": (lambda r: Reset(drop_ms=r.choice((0, 900))), 60),
    "resets": (lambda r: Reset(every_s=r.uniform(3, 15)), 60),
    "close": (lambda r: Close(drop_ms=r.choice((0, 900))), 60),
    "leave": (lambda r: Leave(notice_s=r.uniform(0, 10)), 60),
    "refuse": (lambda _: Refuse(), 30),
    "hang": (lambda r: Hang(connect=r.random() < 0.7), 30),
    "status": (_status, 30),
    "lag": (lambda r: RestLag(lag_ms=r.randint(0, 8000), latency_ms=r.randint(0, 5000)), 60),
    "offset": (lambda r: ClockOffset(offset_ms=r.randint(-3000, 3000)), 60),
}
"""Fault -> how it is made, and how many seconds it lasts at most."""
