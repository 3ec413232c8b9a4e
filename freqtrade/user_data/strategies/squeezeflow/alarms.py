"""What the operator is to be told, until Redis has taken it."""

from __future__ import annotations

from logging import getLogger
from typing import Literal

from aggr_server.log import kv
from services.core.records import Alert

AGAIN_MS = 6 * 3_600_000
"""When the operator is reminded of what still lasts."""

_log = getLogger(__name__)


class Alarms:
    """Alerts by code, told when they begin and when they are over; the newest of each waits.

    The codes are few and fixed, so this stays small.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Alert] = {}
        self._said: dict[str, Alert] = {}
        self._since_ms: dict[str, int] = {}

    def say(
        self, level: Literal["info", "warning", "critical"], code: str, text: str, now_ms: int
    ) -> None:
        """Tell the operator."""
        before = self._said.get(code)
        if before is not None and before.text == text and now_ms - before.ts_ms < AGAIN_MS:
            return
        alert = Alert(level=level, code=code, text=text, ts_ms=now_ms)
        self._said[code] = self._waiting[code] = alert
        self._since_ms.setdefault(code, now_ms)
        log = _log.error if level == "critical" else _log.warning
        log("alert %s", kv(code=code, text=text))

    def over(self, code: str, now_ms: int) -> None:
        """The cause is gone: that is told, and when it comes back, it is news."""
        before = self._said.pop(code, None)
        if before is None or before.level == "info":
            return
        lasted_s = (now_ms - self._since_ms.pop(code)) // 1000
        text = f"over after {lasted_s} s: {before.text}"
        self._waiting[code] = Alert(
            level="info", code=code, text=text, ts_ms=now_ms, ended_level=before.level
        )
        _log.info("alert %s", kv(code=code, text=text))

    def waiting(self) -> list[Alert]:
        """Alerts that Redis has not taken yet."""
        return list(self._waiting.values())

    def told(self, alert: Alert) -> None:
        """Redis has taken an alert."""
        if self._waiting.get(alert.code) is alert:
            del self._waiting[alert.code]
