"""Incidents: told once when they begin and once when they are over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from services.core.records import Alert


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong right now. `code` and `subject` together name the incident.

    `hold_s`: how long it must last before anyone is told.
    """

    code: str
    subject: str
    level: str
    text: str
    hold_s: float = 0.0

    @property
    def key(self) -> str:
        """`code:subject`."""
        return f"{self.code}:{self.subject}"


@dataclass(slots=True)
class Incidents:
    """`open`: incidents that were told and are not over, by key.

    One is over when it has not been found for `clear_s`, so that a flickering one is told once.
    """

    clear_s: float = 15.0
    open: dict[str, Alert] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)
    _gone: dict[str, float] = field(default_factory=dict)

    def update(self, findings: Iterable[Finding], now_s: float) -> list[Alert]:
        """What to tell now. `now_s`: any clock in seconds that only goes forward on the whole."""
        current = {finding.key: finding for finding in findings}
        return [*self._begun(current, now_s), *self._over(current, now_s)]

    def _begun(self, current: Mapping[str, Finding], now_s: float) -> list[Alert]:
        self._since = {key: self._since.get(key, now_s) for key in current}
        told = []
        for key, finding in current.items():
            self._gone.pop(key, None)
            if key in self.open or now_s - self._since[key] < finding.hold_s:
                continue
            alert = Alert(
                level="critical" if finding.level == "critical" else "warning",
                code=finding.code,
                text=finding.text,
                ts_ms=int(now_s * 1000),
            )
            self.open[key] = alert
            told.append(alert)
        return told

    def _over(self, current: Mapping[str, Finding], now_s: float) -> list[Alert]:
        told = []
        for key in [key for key in self.open if key not in current]:
            if now_s - self._gone.setdefault(key, now_s) < self.clear_s:
                continue
            alert = self.open.pop(key)
            lasted_s = int(now_s - alert.ts_ms / 1000)
            told.append(
                Alert(
                    level="info",
                    code=alert.code,
                    text=f"over after {lasted_s} s: {alert.text}",
                    ts_ms=int(now_s * 1000),
                    ended_level="critical" if alert.level == "critical" else "warning",
                )
            )
            del self._gone[key]
        return told
