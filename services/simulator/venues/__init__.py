"""The venues that are simulated; one file each, and nothing but their dialects in it.

A venue is added by a file with a `Venue` in it: `name`, `instruments`, `routes` (its sockets by
`web.get(PATH, self.socket)`, its REST by `rest`), `channel`, `message` and `publish`. Whatever is
special about it has a hook in `Venue`: liquidations of their own, heartbeats, a greeting, packed
frames, an announced end. REST answers come from `self.market`, the venue's own tape, and times
from its `clock()`. Instruments are `apart=True`, so that they leave the demo's markets as they
are. Faults need nothing: they are applied where frames are sent and requests arrive.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache

from aggr_server.env import SettingsError
from services.core.settings import SimulatorSettings
from services.simulator.connections import Hub
from services.simulator.faults import Faults
from services.simulator.instruments import Instrument
from services.simulator.market import Market
from services.simulator.tape import Tape
from services.simulator.venues.base import Venue

DEMO = SimulatorSettings().simulator_venues


@cache
def known() -> dict[str, type[Venue]]:
    """Every venue by its name."""
    found: dict[str, type[Venue]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, Venue)
                and value.__module__ == module.__name__
                and "name" in vars(value)
            ):
                found[value.name] = value
    return dict(sorted(found.items()))


def instruments(names: Sequence[str] = DEMO) -> tuple[Instrument, ...]:
    """The instruments of some venues. Raises `SettingsError` for a venue that does not exist."""
    for name in names:
        if name not in known():
            raise SettingsError(
                f"SIMULATOR_VENUES: {name!r} is not simulated; known: {', '.join(known())}"
            )
    return tuple(i for name in names for i in known()[name].instruments)


def create(
    market: Market, hub: Hub, faults: Faults | None = None, names: Sequence[str] = DEMO
) -> tuple[Venue, ...]:
    """One of each."""
    faults = faults or Faults()
    return tuple(known()[name](Tape(market, name, faults), hub, faults) for name in names)


INSTRUMENTS: tuple[Instrument, ...] = instruments()
"""Those of the demo."""

__all__ = ["DEMO", "INSTRUMENTS", "Venue", "create", "instruments", "known"]
