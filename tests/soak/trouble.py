"""What goes wrong in a soak, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

EXCHANGES = "exchanges"
"""Two minutes of everything that exchanges do wrong."""

FIRST = ("redis", "aggr-influx", "aggr-server", "strategy-runner")
REST = ("freqtrade", "oi-tracker", "system-monitor", "health-monitor")
KILLS_BETWEEN = 2
"""Services that are killed, one at a time, between two troubles of the exchanges."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """`at_s` from the beginning. `what`: `EXCHANGES`, or the service that gets `kill -9`."""

    at_s: float
    what: str


def troubles(seed: int, length_s: float, every_s: float) -> list[Trouble]:
    """One each `every_s`, the first after half of it, in an order drawn from `seed`.

    Short runs kill the databases and what holds the state of the market and of the trading; longer
    ones come round to all services again and again.
    """
    order = _order(Random(seed))
    count = int((length_s - every_s / 2) // every_s) + 1 if length_s > every_s / 2 else 0
    return [Trouble(every_s / 2 + number * every_s, next(order)) for number in range(count)]


def _order(luck: Random) -> Iterator[str]:
    victims = _victims(luck)
    while True:
        yield EXCHANGES
        for _ in range(KILLS_BETWEEN):
            yield next(victims)


def _victims(luck: Random) -> Iterator[str]:
    yield from luck.sample(FIRST, len(FIRST))
    yield from luck.sample(REST, len(REST))
    everyone = (*FIRST, *REST)
    while True:
        yield from luck.sample(everyone, len(everyone))
