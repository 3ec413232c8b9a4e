"""How each service is, as monitors pass it on."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

State = Literal["up", "degraded", "down"]


class ServiceState(msgspec.Struct, frozen=True, kw_only=True):
    """`age_ms`: age of the newest proof of work, None if there is none. `detail`: the proof, or
    what is wrong. `remedy`: what to do; empty if all is well. `figures`: what the service says of
    itself in its heartbeat, such as the strategy's states, coverage and warm-up; of Redis, what
    its INFO says. `answer_ms`: how long its answer took, `cycle_ms`: the last turn of its loop;
    None where it is not asked, or has no loop that tells."""

    state: State
    age_ms: int | None
    detail: str
    remedy: str = ""
    figures: dict[str, Any] = {}
    answer_ms: float | None = None
    cycle_ms: float | None = None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All services at `ts_ms`. `status`: healthy only if every one is up."""

    status: Literal["healthy", "degraded"]
    ts_ms: int
    services: dict[str, ServiceState]

    @property
    def any_down(self) -> bool:
        """Whether at least one service does not do its work."""
        return any(service.state == "down" for service in self.services.values())


def overview(services: dict[str, ServiceState], ts_ms: int) -> Overview:
    """Sum up."""
    well = all(service.state == "up" for service in services.values())
    return Overview(status="healthy" if well else "degraded", ts_ms=ts_ms, services=services)
