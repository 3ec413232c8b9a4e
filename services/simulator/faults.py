"""The faults in force: asked by whoever sends or answers, at next to no cost without any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import msgspec

from aggr_server import clock
from services.simulator.connections import Client
from services.simulator.fault_plan import (
    BOTH,
    FOREVER_MS,
    ClockOffset,
    Drop,
    Duplicate,
    Fault,
    FaultPlan,
    FrameFault,
    Garble,
    Hang,
    Huge,
    Mute,
    Pulse,
    Refuse,
    Reorder,
    RestLag,
    Slow,
    Status,
    StreamKind,
    VenueFault,
)
from services.simulator.garbage import Frame, garbled

Send = Callable[[Client, Frame], None]
F = TypeVar("F", bound=VenueFault)


@dataclass
class _InForce:
    """What holds until `until_ms`."""

    until_ms: int = 0
    of_market: dict[tuple[str, StreamKind], list[FrameFault]] = field(default_factory=dict)
    of_venue: dict[str, list[VenueFault]] = field(default_factory=dict)


class Faults:
    """The plan of a run and what of it is in force.

    `markets`: market -> its venue. `signed`: venues where a negative number is no garbage.
    `changed` is set when another plan has been put.
    """

    def __init__(
        self,
        markets: Mapping[str, str] | None = None,
        clock_ms: Callable[[], int] = clock.now_ms,
        *,
        signed: Collection[str] = (),
        seed: int = 0,
    ) -> None:
        self.plan = FaultPlan()
        self.changed = asyncio.Event()
        self._markets = markets or {}
        self._clock_ms = clock_ms
        self._signed = signed
        self._luck = Random(seed)
        self._in_force = _InForce(FOREVER_MS)

    def put(self, plan: FaultPlan) -> None:
        """Follow `plan` from now on instead of the one before."""
        now = self._clock_ms()
        short = (Mute(markets=plan.mute),) if plan.mute else ()
        faults = (*plan.faults, *short)
        self.plan = FaultPlan(
            tuple(msgspec.structs.replace(f, from_ms=f.from_ms or now) for f in faults)
        )
        self._in_force = _InForce()
        self.changed.set()

    @property
    def greatest_offset_ms(self) -> int:
        """How far a venue's clock is ahead at most, at any time of the plan."""
        offsets = [f.offset_ms for f in self.plan.faults if isinstance(f, ClockOffset)]
        return max(0, *offsets) if offsets else 0

    @property
    def pulses(self) -> list[Pulse]:
        """What happens at moments."""
        return [fault for fault in self.plan.faults if isinstance(fault, Pulse)]

    def sender(self, market: str, kind: StreamKind) -> Send | None:
        """How frames about `market` go out; None: as they are."""
        found = self._now().of_market.get((market, kind))
        if not found:
            return None
        return self._disturbed(found, signed=self._markets[market] in self._signed)

    def clock_offset_ms(self, venue: str) -> int:
        """How far the venue's clock is ahead."""
        return sum(fault.offset_ms for fault in self._of(venue, ClockOffset))

    def rest_lag_ms(self, venue: str) -> int:
        """Age at which a trade becomes known to REST."""
        return max((fault.lag_ms for fault in self._of(venue, RestLag)), default=0)

    def rest_latency_ms(self, venue: str) -> int:
        """How long REST takes to answer."""
        return max((fault.latency_ms for fault in self._of(venue, RestLag)), default=0)

    def slow(self, venue: str) -> Slow | None:
        """How slowly frames arrive."""
        return next(iter(self._of(venue, Slow)), None)

    def at_door(self, venue: str, *, rest: bool) -> Refuse | None:
        """What keeps a request from being answered."""
        for fault in self._of(venue, Refuse):
            lucky = isinstance(fault, Status) and self._luck.random() >= fault.probability
            if (fault.rest if rest else fault.connect) and not lucky:
                return fault
        return None

    def hanging(self, venue: str, *, rest: bool) -> bool:
        """Whether requests go unanswered."""
        return any(f.rest if rest else f.connect for f in self._of(venue, Hang))

    def _of(self, venue: str, kind: type[F]) -> Sequence[F]:
        found = self._now().of_venue.get(venue)
        return [fault for fault in found if isinstance(fault, kind)] if found else ()

    def _now(self) -> _InForce:
        now = self._clock_ms()
        if now >= self._in_force.until_ms:
            self._in_force = self._since(now)
        return self._in_force

    def _since(self, now: int) -> _InForce:
        edges = [edge for f in self.plan.faults for edge in _window(f) if edge > now]
        found = _InForce(min(edges, default=FOREVER_MS))
        for fault in self.plan.faults:
            begin, end = _window(fault)
            if not begin <= now < end:
                continue
            if isinstance(fault, Pulse):
                self._add(found, Drop(venues=fault.venues, kinds=BOTH))
            elif isinstance(fault, FrameFault):
                self._add(found, fault)
            else:
                for venue in fault.venues or set(self._markets.values()):
                    found.of_venue.setdefault(venue, []).append(fault)
        return found

    def _add(self, found: _InForce, fault: FrameFault) -> None:
        for market in concerned(fault, self._markets):
            for kind in fault.kinds:
                together = found.of_market.setdefault((market, kind), [])
                # What is not sent is not sent twice either.
                together.insert(0 if isinstance(fault, Mute | Drop) else len(together), fault)

    def _disturbed(self, faults: Iterable[FrameFault], *, signed: bool) -> Send:
        luck = self._luck

        def send(client: Client, frame: Frame) -> None:
            delay_ms = 0.0
            for fault in faults:
                if fault.probability < 1.0 and luck.random() >= fault.probability:
                    continue
                match fault:
                    case Drop():
                        return
                    case Mute():
                        if fault.connections == "all" or client.since_ms < fault.from_ms:
                            return
                    case Duplicate():
                        client.send_later(frame, luck.uniform(0, fault.within_ms))
                    case Reorder():
                        delay_ms = luck.uniform(0, fault.within_ms)
                    case Garble():
                        way = luck.choice(fault.ways)
                        broken = garbled(frame, way, luck)
                        if broken is not None and not (signed and way == "negative"):
                            client.send(broken)
                    case Huge() if isinstance(frame, str):
                        frame = frame.ljust(fault.size_bytes)
            client.send_later(frame, delay_ms)

        return send


def concerned(fault: FrameFault, markets: Mapping[str, str]) -> list[str]:
    """The markets whose frames a fault touches; `markets`: market -> venue."""
    return [
        market
        for market, venue in markets.items()
        if (not fault.markets or market in fault.markets)
        and (not fault.venues or venue in fault.venues)
    ]


def _window(fault: Fault) -> tuple[int, int]:
    """When a fault has to be looked at: all its time, or that before a pulse."""
    if isinstance(fault, Pulse):
        return fault.from_ms - fault.drop_ms, fault.from_ms
    return fault.from_ms, fault.until_ms
