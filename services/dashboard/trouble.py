"""What the page's server cannot read now."""

from __future__ import annotations

from collections.abc import Callable

from services.dashboard.audience import Audience
from services.dashboard.hub import Hub
from services.dashboard.protocol import Trouble

LONGEST = 200


class Troubles:
    """Problems by the server they are with (`Redis`, `InfluxDB`, `freqtrade`) and who had them."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._problems: dict[tuple[str, str], str] = {}

    def note(self, server: str, who: str, problem: object) -> None:
        """`who` could not read; an empty text or None: it could."""
        if isinstance(problem, Exception):
            problem = str(problem) or type(problem).__name__
        text = str(problem or "")
        if text:
            self._problems[server, who] = text[:LONGEST]
        else:
            self._problems.pop((server, who), None)

    def message(self) -> Trouble:
        """One problem for each server."""
        problems = {server: text for (server, _), text in sorted(self._problems.items())}
        return Trouble(ts_ms=self._now_ms(), problems=problems)


class TroubleBlock:
    """Shows what is wrong, once a second at most."""

    every_s = 1.0

    def __init__(self, audience: Audience, troubles: Troubles, hub: Hub) -> None:
        self._audience = audience
        self._troubles = troubles
        self._hub = hub

    async def round(self) -> None:
        """Show once."""
        self._troubles.note("InfluxDB", "history", self._hub.problem)
        live = "" if self._hub.subscribed else "the bars channel cannot be heard"
        self._troubles.note("Redis", "bars", live)
        self._audience.show(self._troubles.message())
