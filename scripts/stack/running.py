"""What both ways of running the stack offer to the commands.

The modules `native` and `containers` each have `up(options, progress) -> Started`,
`running(root) -> Running | None` and `down(root) -> int` (the number of processes or containers
that were ended); all of them raise `StackError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Mode = Literal["native", "docker"]

AWAIT_EXCHANGES = frozenset({"aggr-server", "strategy-runner", "freqtrade"})
"""Not ready while no exchange answers. They go on trying, and what watches them is to be there
meanwhile: a live stack is up without them."""


class StackError(Exception):
    """The stack cannot be started or reached; the text names cause and remedy, one line each."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked `up` for. `report`: file of the check's JSON report, if any."""

    root: Path
    demo: bool = False
    check: bool = False
    report: Path | None = None
    mode: Mode = "native"


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources of one service: CPU seconds since its start, resident memory in bytes."""

    cpu_s: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Address:
    """A page to open. `login`: how to log in, empty if nothing is asked."""

    title: str
    url: str
    login: str = ""


class Running(Protocol):
    """A stack that is up.

    `environ`: settings under which a program on this host reaches the services: REDIS_HOST,
    REDIS_PORT, REDIS_PASSWORD_FILE, INFLUX_..., FREQTRADE_API_..., AGGR_SERVER_URL, HEALTH_PORT,
    SIMULATOR_PORT.
    """

    @property
    def demo(self) -> bool:
        """Whether the exchanges are simulated."""

    @property
    def environ(self) -> Mapping[str, str]:
        """See the class."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Pages to open."""

    def states(self) -> dict[str, str]:
        """Service -> `healthy`, or what is wrong with it in a few words. One-shot services that
        did their work are `healthy` too."""

    def usage(self) -> dict[str, Usage]:
        """Service -> its resources; services that are not running are left out."""

    def stop(self) -> None:
        """Stop everything and make sure that nothing is left."""


@dataclass(slots=True)
class Started:
    """Result of `up`. `fresh`: False if the stack was running already. `start_seconds`: from the
    command, installation included, until every service was ready. `waiting`: those that are not,
    of `AWAIT_EXCHANGES`."""

    stack: Running
    fresh: bool
    start_seconds: float = 0.0
    waiting: tuple[str, ...] = ()
