"""Whether a fault plan can be followed, and what is wrong if not."""

from __future__ import annotations

from collections.abc import Sequence

from services.simulator.fault_plan import (
    Drop,
    Fault,
    FaultPlan,
    FrameFault,
    Garble,
    Leave,
    Pulse,
    Refusal,
)
from services.simulator.faults import concerned
from services.simulator.venues.base import Venue


def check(plan: FaultPlan, venues: Sequence[Venue]) -> None:
    """Raises `Refusal` for a plan that these venues cannot follow."""
    known = {venue.name: venue for venue in venues}
    markets = {i.market: venue.name for venue in venues for i in venue.instruments}
    for market in plan.mute:
        if market not in markets:
            raise Refusal(f"unknown market {market}; /control/status lists them")
    for fault in plan.faults:
        _check_names(fault, known, markets)
        if fault.until_ms <= fault.from_ms:
            raise Refusal("until_ms must lie after from_ms")
        touched = _touched(fault, known, markets)
        if isinstance(fault, Drop):
            _require_ids(fault, touched)
        if isinstance(fault, Garble) and fault.ways == ("negative",):
            _require_unsigned(touched)
        if isinstance(fault, Pulse) and fault.drop_ms and fault.every_s:
            raise Refusal("drop_ms goes with a single end; leave every_s out, or repeat the fault")
        if isinstance(fault, Leave):
            _require_farewell(touched, named=bool(fault.venues))


def _check_names(fault: Fault, known: dict[str, Venue], markets: dict[str, str]) -> None:
    for name in fault.venues:
        if name not in known:
            raise Refusal(f"unknown venue {name}; simulated are {', '.join(known)}")
    for market in fault.markets if isinstance(fault, FrameFault) else ():
        if market not in markets:
            raise Refusal(f"unknown market {market}; /control/status lists them")


def _touched(fault: Fault, known: dict[str, Venue], markets: dict[str, str]) -> list[Venue]:
    if isinstance(fault, FrameFault):
        names = {markets[market] for market in concerned(fault, markets)}
    else:
        names = set(fault.venues or known)
    return [known[name] for name in sorted(names)]


def _require_ids(fault: Drop, venues: list[Venue]) -> None:
    if fault.kinds != ("trades",):
        raise Refusal("only trades can be dropped: nobody could notice that forced orders are lost")
    for venue in venues:
        if not venue.gapless:
            raise Refusal(
                f"frames of {venue.name} cannot be dropped: its ids do not show the loss, so that "
                "nobody could notice it. Name venues whose ids grow by one, or use drop_ms of reset"
            )


def _require_unsigned(venues: list[Venue]) -> None:
    for venue in venues:
        if venue.signed:
            raise Refusal(f"a negative size of {venue.name} is a sale, not garbage; use other ways")


def _require_farewell(venues: list[Venue], *, named: bool) -> None:
    for venue in venues if named else ():
        if type(venue).farewell is Venue.farewell:
            raise Refusal(f"{venue.name} announces nothing before it closes; use close")
