"""When a venue may be asked for a connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from logging import getLogger

from aggr_server import clock
from aggr_server.log import kv
from aggr_server.throttle import Pacer
from aggr_server.transport import Refused, explain_status

BLOCKED_S = 900.0
LIMITED_S = 60.0
BANNED_S = 300.0
LONGEST_S = 3 * 86_400.0
"""The longest ban a venue is known to impose; what it asks beyond that is not believed."""

_BLOCKS = (403, 451)
_LIMITS = (418, 429)

_log = getLogger(__name__)


class _Host:
    """One host of the venue. `status`: with which it turned us away; 0 if it did not."""

    def __init__(self) -> None:
        self.closed_until = 0.0
        self.status = 0
        self.one_at_a_time = asyncio.Lock()


class Gate:
    """Connection attempts of a whole venue: `spacing_s` apart, and one at a time at each host.

    After a refusal that concerns our address (403, 418, 429, 451) nobody asks that host again
    until the time it named, or a long one, has passed; then one asks and the others wait for the
    answer.
    """

    def __init__(self, venue: str, spacing_s: float) -> None:
        self._venue = venue
        self._pacer = Pacer(spacing_s)
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def attempt(self, host: str) -> AsyncIterator[None]:
        """Wait until `host` may be asked, and learn from a `Refused` how it answered."""
        state = self._hosts.setdefault(host, _Host())
        async with state.one_at_a_time:
            if (wait_s := state.closed_until - clock.monotonic()) > 0:
                await clock.sleep(wait_s)
            await self._pacer.turn()
            try:
                yield
            except Refused as error:
                self._refused(host, state, error)
                raise
            self._opened(host, state)

    def _refused(self, name: str, host: _Host, error: Refused) -> None:
        if error.status in _BLOCKS:
            delay_s = max(BLOCKED_S, error.retry_after_s)
        elif error.status in _LIMITS or error.retry_after_s > 0:
            usual_s = BANNED_S if error.status == 418 else LIMITED_S
            delay_s = error.retry_after_s or usual_s
        else:
            host.status = 0
            return
        delay_s = min(LONGEST_S, delay_s)
        if error.status in _BLOCKS and host.status not in _BLOCKS:
            _log.error(
                "exchange turns this address away %s",
                kv(
                    exchange=self._venue,
                    host=name,
                    status=error.status,
                    remedy=explain_status(error.status),
                    retry_s=delay_s,
                ),
            )
        host.status = error.status or 429
        host.closed_until = clock.monotonic() + delay_s + random.uniform(0.0, 0.05 * delay_s)

    def _opened(self, name: str, host: _Host) -> None:
        if host.status in _BLOCKS:
            _log.info("exchange accepts this address again %s", kv(exchange=self._venue, host=name))
        host.status = 0
