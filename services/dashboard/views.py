"""What the strategy sees, as it says each second while somebody listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from logging import getLogger

import msgspec

from aggr_server.log import kv
from services.core.views import View, Views

STALE_MS = 10_000
"""A view older than this is not shown: nobody knows what the strategy sees now."""

_decoder = msgspec.json.Decoder(Views)
_log = getLogger(__name__)


class NewestViews:
    """The newest view of every symbol."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._views: dict[str, tuple[View, int]] = {}
        self._unreadable = 0

    def on_message(self, data: bytes) -> None:
        """A replica tells what it sees."""
        try:
            views = _decoder.decode(data)
        except msgspec.MsgspecError as error:
            self._unreadable += 1
            if self._unreadable & (self._unreadable - 1) == 0:  # 1st, 2nd, 4th, 8th, ...
                _log.warning("views not readable %s", kv(count=self._unreadable, error=error))
            return
        for view in views.views:
            known = self._views.get(view.symbol)
            if known is None or known[0].t <= view.t:
                self._views[view.symbol] = view, views.ts_ms

    def newest(self) -> Mapping[str, tuple[View, int]]:
        """symbol -> view and when it was told, ms."""
        oldest_ms = self._now_ms() - STALE_MS
        self._views = {name: v for name, v in self._views.items() if v[1] >= oldest_ms}
        return self._views
