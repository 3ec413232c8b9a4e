"""What was known before the first second of a run, with the rule by which it is loaded live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aggr_server.wire import Market
from services.influx_signal_manager import iso
from services.market.backfill import MINUTE_S, Filled, FilledHistory, spans_text
from services.market.history import History
from services.strategy.types import Minute
from services.trading.loader import SCALE_MINUTES


@dataclass(frozen=True, slots=True)
class Past:
    """`minutes`: before second `first_s`, at which the seconds begin.

    `begin_s`: decisions begin here, 0 for where the run begins. `filled`: minutes that come from
    candles.
    """

    minutes: tuple[Minute, ...]
    first_s: int
    begin_s: int = 0
    filled: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reach:
    """A run over [from_s, to_s) of the symbol `base`.

    `wanted_s`: where its seconds should begin. `first_s`: where they do, later if older ones are
    not stored.
    """

    base: str
    wanted_s: int
    first_s: int
    from_s: int
    to_s: int
    lookback_s: int

    @property
    def minutes_from_s(self) -> int:
        """The oldest minute the scales reach back to."""
        return self.wanted_s - (SCALE_MINUTES - self.lookback_s // 60) * 60

    @property
    def begin_s(self) -> int:
        """The first second that can be decided in."""
        return max(self.from_s, self.first_s)


async def past(
    history: History,
    filling: FilledHistory | None,
    markets: Sequence[Market],
    reference: Market,
    reach: Reach,
) -> Past:
    """Load it; `filling` None: without candles. Raises `InfluxError`, `InfluxUnavailable`.

    As of the first second to be decided in: what candles could fill only later is not used. A run
    that begins with the first second ever stored begins when its past could be filled instead.
    """
    if filling is not None:
        span = (reach.minutes_from_s, reach.to_s // MINUTE_S * MINUTE_S)
        known_at = (await filling.minutes(markets, reference, *span)).known_at
        begin_s = _begin(reach, known_at)
        end = begin_s // MINUTE_S * MINUTE_S
        filled = await filling.minutes(markets, reference, reach.minutes_from_s, end)
        later = {t: at for t, at in known_at.items() if at > end}
        if filled.minutes or later:
            return _filled_past(reach, filled, begin_s, later)
    found = await history.minutes(markets, reference, reach.minutes_from_s, reach.first_s)
    return Past(tuple(found), reach.first_s)


def _begin(reach: Reach, known_at: dict[int, int]) -> int:
    """Where decisions begin: after a first start, where the minutes before it could be filled."""
    if reach.first_s == reach.wanted_s:
        return reach.begin_s
    before = [at for t, at in known_at.items() if t < reach.first_s]
    return max(reach.begin_s, *before) if before else reach.begin_s


def _filled_past(reach: Reach, filled: Filled, begin_s: int, later: dict[int, int]) -> Past:
    first_s = max(reach.first_s, filled.whole_from)
    minutes = tuple(filled.table.axis(first_s))
    notes = tuple(_notes(reach, filled.minutes, begin_s, later))
    return Past(minutes, first_s, begin_s, filled.minutes, notes)


def _notes(
    reach: Reach, filled: Sequence[int], begin_s: int, later: dict[int, int]
) -> Iterator[str]:
    if filled:
        yield (
            f"{reach.base}: {len(filled)} minutes before the start were seen by no collector and "
            f"are filled from candles, as live: {spans_text(filled)} UTC"
        )
    if begin_s > reach.begin_s:
        yield (
            f"{reach.base}: nothing is decided before {iso(begin_s * 1000)}, when these minutes "
            "could be filled"
        )
    if later:
        since = max(later.values())
        yield (
            f"{reach.base}: {len(later)} missing minutes could be filled from candles only in the "
            f"course of the run and are not: {spans_text(list(later))} UTC; strategy-runner loads "
            f"them then, and so does a run with --from {iso(since * 1000)}"
        )
