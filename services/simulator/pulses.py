"""Connections that end at moments of the fault plan."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aggr_server import clock
from services.simulator.connections import Client, Hub
from services.simulator.fault_plan import Close, Leave, Pulse
from services.simulator.faults import Faults
from services.simulator.venues.base import Venue

_AWAY = 1001


class Pulses:
    """Ends connections when the plan says so."""

    def __init__(self, hub: Hub, venues: Sequence[Venue], faults: Faults) -> None:
        self._hub = hub
        self._venues = {venue.name: venue for venue in venues}
        self._faults = faults

    async def run(self) -> None:
        """Work for ever."""
        done_ms = clock.now_ms() - 1
        while True:
            self._faults.changed.clear()
            coming = [(at, p) for p in self._faults.pulses if (at := _next(p, done_ms)) is not None]
            moment = min((at for at, _ in coming), default=None)
            if not await self._reached(moment):
                continue
            for at, pulse in coming:
                if at == moment:
                    self._strike(pulse)
            done_ms = moment or done_ms

    async def _reached(self, moment_ms: int | None) -> bool:
        """Wait for a moment; False if the plan has been changed before."""
        left_s = None if moment_ms is None else (moment_ms - clock.now_ms()) / 1000
        if left_s is not None and left_s <= 0:
            return True
        try:
            async with asyncio.timeout(None if left_s is None else clock.real(left_s)):
                await self._faults.changed.wait()
        except TimeoutError:
            return True
        return False

    def _strike(self, pulse: Pulse) -> None:
        for client in list(self._hub.clients):
            if pulse.venues and client.venue not in pulse.venues:
                continue
            if isinstance(pulse, Close):
                client.close(pulse.code)
            elif isinstance(pulse, Leave):
                self._leave(client, pulse)
            else:
                client.cut(reset=True)

    def _leave(self, client: Client, pulse: Leave) -> None:
        if text := self._venues[client.venue].farewell(client):
            client.send(text)
        loop = asyncio.get_running_loop()
        loop.call_later(clock.real(pulse.notice_s), client.close, _AWAY)


def _next(pulse: Pulse, after_ms: int) -> int | None:
    """The first moment of a pulse after `after_ms`; None if there is none any more."""
    moment = pulse.from_ms
    if moment <= after_ms:
        if not pulse.every_s:
            return None
        every_ms = max(1, int(pulse.every_s * 1000))
        moment += ((after_ms - moment) // every_ms + 1) * every_ms
    return moment if moment < pulse.until_ms else None
