"""The sum over venues. It never drops merely because a venue does not answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from services.core.records import OpenInterest, OpenInterestShare, OpenInterestTotal
from services.oi.book import State

CARRY_MS = 30 * 60_000
"""How long a venue's last value stands in for it; the strategy uses the same limit."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`venues`: in the sum. `carried`: of those, the ones whose last poll brought nothing usable.

    `held`: of those, the ones whose newer value is a jump that is not believed. `missing`: venues
    that have such a perpetual but no usable value; the sum is partial then. `coins`, `usd`:
    one-sided, as in `OpenInterest`.
    """

    coins: float
    usd: float
    venues: tuple[str, ...]
    carried: tuple[str, ...]
    held: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every expected venue is in the sum."""
        return not self.missing


def aggregate(
    latest: Mapping[str, OpenInterest],
    expected: Collection[str],
    states: Mapping[str, State],
    now_ms: int,
) -> Aggregate | None:
    """Sum the newest value of each expected venue; None if there is none."""
    used = {
        name: sample
        for name, sample in sorted(latest.items())
        if name in expected and now_ms - sample.ts_ms <= CARRY_MS
    }
    if not used:
        return None
    return Aggregate(
        coins=sum(sample.coins for sample in used.values()),
        usd=sum(sample.usd for sample in used.values()),
        venues=tuple(used),
        carried=tuple(name for name in used if states.get(name, "carried") == "carried"),
        held=tuple(name for name in used if states.get(name) == "held"),
        missing=tuple(sorted(set(expected) - set(used))),
    )


def change(now: Mapping[str, float], then: Mapping[str, float]) -> float | None:
    """Relative change of the sum in coins, over the venues known at both times.

    None if there is none, so that a venue that came or went is not mistaken for a change.
    """
    both = now.keys() & then.keys()
    before = sum(then[name] for name in both)
    return sum(now[name] for name in both) / before - 1.0 if before > 0 else None


def detailed(
    base: str,
    total: Aggregate,
    latest: Mapping[str, OpenInterest],
    before: Mapping[str, float],
    now_ms: int,
) -> OpenInterestTotal:
    """The sum with each venue's share. `before`: coins 24 hours ago by venue."""
    now = {name: latest[name].coins for name in total.venues}
    return OpenInterestTotal(
        base=base,
        ts_ms=now_ms,
        coins=total.coins,
        usd=total.usd,
        change_24h=change(now, before),
        venues=[
            OpenInterestShare(
                exchange=name, coins=sample.coins, usd=sample.usd, price=sample.price,
                ts_ms=sample.ts_ms, change_24h=change({name: sample.coins}, before),
                carried=name in total.carried, held=name in total.held,
            )
            for name in total.venues
            if (sample := latest[name])
        ],
        missing=list(total.missing),
    )  # fmt: skip
