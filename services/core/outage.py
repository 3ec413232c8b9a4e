"""One line when a server goes away, a reminder each minute, one line when it is back."""

from __future__ import annotations

import time
from collections.abc import Callable
from logging import getLogger

from aggr_server.log import kv

REMIND_S = 60.0

_log = getLogger(__name__)


class Outage:
    """Whether a server answers, as seen by all who use it in this process."""

    def __init__(
        self,
        server: str,
        address: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._address = address
        self._monotonic = monotonic
        self._since: float | None = None
        self._told = 0.0

    def failed(self, error: Exception) -> None:
        """A request has failed."""
        now = self._monotonic()
        if self._since is None:
            self._since = now
        elif now - self._told < REMIND_S:
            return
        self._told = now
        _log.warning(
            "%s not reachable, retrying %s",
            self._server,
            kv(
                address=self._address,
                away_s=round(now - self._since),
                error=error,
                remedy=f"start {self._server}, check address and password",
            ),
        )

    def over(self) -> None:
        """A request has gone through."""
        if self._since is not None:
            away_s = round(self._monotonic() - self._since)
            self._since = None
            _log.info("%s answers again %s", self._server, kv(away_s=away_s))
