"""What hours of samples say: what grows, how much is logged, and what was wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from tests.soak.samples import Sample, Usage
from tests.soak.slope import Life, Slope, slope_of

MOST_RSS_MB_PER_HOUR = 1.0
MOST_PER_HOUR = 1.0
"""Of descriptors and of threads."""

MOST_LOGGED_MB_PER_DAY = 50.0
DAY_S = 86_400
MEMORY, DESCRIPTORS, THREADS = "MB", "descriptors", "threads"
FILLING = {
    ("aggr-influx", MEMORY): "a group of files is opened each hour, for a day none is dropped",
    ("aggr-influx", DESCRIPTORS): "the same",
    ("redis", MEMORY): "histories of signals, fills and alerts grow to their length",
    ("simulator", MEMORY): "its list of trades grows until it reaches back 25 hours",
    ("freqtrade", DESCRIPTORS): "up to five threads of its API open the database, each for good",
}
"""What grows by design until it is full."""

WARM_UPS = {"freqtrade": 2.0}
"""Times that of others: what it does only now and then takes memory when it is first done."""

FULL_AFTER_H = 48.0
SURE_AFTER_H = 12.0
"""From here on, a measurement that cannot tell growth from none counts as growth."""


@dataclass(frozen=True, slots=True)
class Row:
    """One service. `lives`: processes it had. Memory in MB, of the newest life, after warm-up."""

    service: str
    lives: int
    rss_first_mb: float
    rss_last_mb: float
    rss: Slope | None
    descriptors: Slope | None
    threads: Slope | None
    logged_mb_per_day: float
    cores: float


@dataclass
class Verdict:
    """`kills`: what was killed. `back_s`: from each kill until all was healthy. `wrong`: what broke
    an invariant, one sentence each. `counted`: bars, signals and trades that were compared."""

    hours: float = 0.0
    rows: list[Row] = field(default_factory=list)
    stores: dict[str, list[float]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    back_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    counted: dict[str, Any] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Why the run is a failure; empty if it is none."""
        return [*self.wrong, *(text for row in self.rows for text in self._of(row))]

    def _of(self, row: Row) -> Iterator[str]:
        if row.lives != self.kills[row.service] + 1:
            yield f"{row.service}: {row.lives} lives, but {self.kills[row.service]} kills"
        if row.logged_mb_per_day > MOST_LOGGED_MB_PER_DAY:
            yield f"{row.service} logs {row.logged_mb_per_day:.0f} MB a day"
        for what, slope, most in (
            (MEMORY, row.rss, MOST_RSS_MB_PER_HOUR),
            (DESCRIPTORS, row.descriptors, MOST_PER_HOUR),
            (THREADS, row.threads, MOST_PER_HOUR),
        ):
            if (row.service, what) in FILLING and self.hours < FULL_AFTER_H:
                continue
            answer = slope.against(most) if slope else "open"
            if answer == "grows" or (answer == "open" and self.hours >= SURE_AFTER_H):
                yield f"{row.service}: {_shown(slope)} {what} per hour, at most {most:g} may be"

    @property
    def text(self) -> str:
        """The table and what is below it."""
        lines = [_HEAD, *(_line(row) for row in self.rows), ""]
        lines += [
            f"{name:<20} {first:>14,.0f} -> {last:,.0f}"
            for name, (first, last) in self.stores.items()
        ]
        lines += [
            f"{self.hours:.2f} h; killed: "
            + (", ".join(f"{name} {count}x" for name, count in self.kills.items()) or "nothing"),
            f"all healthy again after {', '.join(f'{s:.0f} s' for s in self.back_s) or '-'}",
            ", ".join(f"{name} {value}" for name, value in self.counted.items()),
            *(f"not well: {problem}" for problem in self.problems),
        ]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document | {"problems": self.problems}


_HEAD = (
    f"{'service':<16} lives {'RSS MB':>15} {'MB/h (95 %)':>24} {'descriptors/h':>20} "
    f"{'threads/h':>20} {'log MB/day':>10} {'cores':>6}"
)


def _line(row: Row) -> str:
    rss = f"{row.rss_first_mb:.1f} -> {row.rss_last_mb:.1f}"
    return (
        f"{row.service:<16} {row.lives:>5} {rss:>15} {_shown(row.rss):>24} "
        f"{_shown(row.descriptors):>20} {_shown(row.threads):>20} "
        f"{row.logged_mb_per_day:>10.2f} {row.cores:>6.3f}"
    )


def _shown(slope: Slope | None) -> str:
    if slope is None:
        return "too short"
    return f"{slope.per_hour:+.2f} [{slope.low:+.2f}, {slope.high:+.2f}]"


def rows(samples: Sequence[Sample], warm_up_s: float) -> Iterator[Row]:
    """One for each service that was ever seen, by name."""
    span_s = samples[-1].at_s - samples[0].at_s
    for service in sorted({name for sample in samples for name in sample.services}):
        lives = _lives(samples, service)
        settled_s = warm_up_s * WARM_UPS.get(service, 1.0)
        slope = partial(_slope, lives, settled_s)
        newest = lives[-1]
        settled = [u for at, u in newest if at >= newest[0][0] + settled_s] or [newest[-1][1]]
        yield Row(
            service,
            len(lives),
            settled[0].rss_bytes / 1e6,
            settled[-1].rss_bytes / 1e6,
            slope(lambda usage: usage.rss_bytes / 1e6),
            slope(lambda usage: usage.descriptors, floor=True),
            slope(lambda usage: usage.threads, floor=True),
            samples[-1].logged.get(service, 0) / 1e6 * DAY_S / span_s,
            sum(life[-1][1].cpu_s - life[0][1].cpu_s for life in lives) / span_s,
        )


_Lives = list[list[tuple[float, Usage]]]


def _slope(
    lives: _Lives, warm_up_s: float, value: Callable[[Usage], float], *, floor: bool = False
) -> Slope | None:
    taken = [Life([at for at, _ in life], [value(u) for _, u in life]) for life in lives]
    return slope_of(taken, warm_up_s, floor=floor)


def _lives(samples: Sequence[Sample], service: str) -> _Lives:
    lives: _Lives = []
    for sample in samples:
        usage = sample.services.get(service)
        if usage is None:
            continue
        if not lives or lives[-1][-1][1].pid != usage.pid:
            lives.append([])
        lives[-1].append((sample.at_s, usage))
    return lives


def stores(samples: Sequence[Sample]) -> dict[str, list[float]]:
    """Figure -> first and last of it."""
    found: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in sample.stores.items():
            found.setdefault(name, [value, value])[1] = value
    return found
