"""Hours in which only critical messages are sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aggr_server.env import SettingsError


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `begin` (included) to `end` (excluded) in `zone`, over midnight if `end` is earlier."""

    begin: time
    end: time
    zone: tzinfo

    def contain(self, ts_ms: int) -> bool:
        """Whether a moment, UTC milliseconds, is within them."""
        local = datetime.fromtimestamp(ts_ms / 1000, self.zone).time()
        if self.begin <= self.end:
            return self.begin <= local < self.end
        return local >= self.begin or local < self.end


def parse(text: str) -> QuietHours | None:
    """`22:00-07:00`, UTC unless a time zone follows, as in `22:00-07:00 Europe/Berlin`.

    None for an empty text. Raises `SettingsError`.
    """
    hours, _, name = text.strip().partition(" ")
    if not hours:
        return None
    begin, _, end = hours.partition("-")
    try:
        zone = ZoneInfo(name.strip()) if name.strip() else UTC
        return QuietHours(time.fromisoformat(begin), time.fromisoformat(end), zone)
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise SettingsError(
            f"NOTIFY_QUIET_HOURS={text!r}: {error}. Write HH:MM-HH:MM and, unless UTC is meant, "
            "a time zone, as in 22:00-07:00 Europe/Berlin. Correct it in .env."
        ) from None
