"""How the services are, each judged by its own work."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from services.core import names
from services.core.points import line
from services.monitor.checks import Checker
from services.monitor.readings import Reading
from services.monitor.states import Overview, ServiceState

Store = Callable[[Iterable[str]], None]


class Services:
    """`store`: takes points of the measurement `service_health`."""

    def __init__(self, checker: Checker, store: Store) -> None:
        self._checker = checker
        self._store = store
        self._seen: set[str] = set()

    def seen(self, services: Iterable[str]) -> None:
        """These were at work once, as an earlier process knows."""
        self._seen.update(services)

    async def readings(self) -> list[Reading]:
        """Every service of the stack; one that is down is never unreadable."""
        overview = await self._checker.check_all()
        self._store(health_lines(overview))
        found = []
        for name, state in overview.services.items():
            if state.state != "down":
                self._seen.add(name)
            found += judged(name, state, seen=name in self._seen)
        return found


def judged(name: str, state: ServiceState, *, seen: bool) -> list[Reading]:
    """The readings of one service; `seen`: whether it has been at work before."""
    down, degraded = state.state == "down", state.state == "degraded"
    flags = {
        "service_down": down if seen or not down else None,
        "service_not_started": down and not seen,
        "service_degraded": degraded,
    }
    return [
        Reading(
            name=flag,
            subject=name,
            value=float(value),
            detail=state.detail if value else "",
            remedy=state.remedy if value else "",
            since_s=(state.age_ms or 0) / 1000 if value and down else 0.0,
        )
        for flag, value in flags.items()
        if value is not None
    ]


def health_lines(overview: Overview) -> list[str]:
    """One point of `service_health` for each service."""
    return [
        line(
            names.HEALTH_MEASUREMENT,
            {"service": name},
            {
                "state": service.state,
                "up": int(service.state != "down"),
                "age_ms": service.age_ms,
                "detail": service.detail,
            },
            overview.ts_ms,
        )
        for name, service in overview.services.items()
    ]
