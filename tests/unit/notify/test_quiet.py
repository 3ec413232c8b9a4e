from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aggr_server.env import SettingsError
from services.notify.quiet import parse


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("hours", "moment", "quiet"),
    [
        ("22:00-07:00", "2026-01-10T21:59:59", False),
        ("22:00-07:00", "2026-01-10T22:00:00", True),
        ("22:00-07:00", "2026-01-11T06:59:59", True),
        ("22:00-07:00", "2026-01-11T07:00:00", False),
        ("01:00-02:30", "2026-01-11T02:29:59", True),
        ("01:00-02:30", "2026-01-11T02:30:00", False),
        ("00:00-00:00", "2026-01-11T12:00:00", False),
        # Berlin is one hour ahead in January, two in July.
        ("22:00-07:00 Europe/Berlin", "2026-01-10T20:59:59", False),
        ("22:00-07:00 Europe/Berlin", "2026-01-10T21:00:00", True),
        ("22:00-07:00 Europe/Berlin", "2026-07-10T20:00:00", True),
    ],
)
def test_moments_within_and_without(hours: str, moment: str, quiet: bool) -> None:
    found = parse(hours)
    assert found is not None
    assert found.contain(ms(moment)) is quiet


def test_no_text_no_quiet_hours() -> None:
    assert parse("") is None


@pytest.mark.parametrize("text", ["22:00", "25:00-07:00", "22:00-07:00 Mars/Olympus", "x-y"])
def test_what_is_wrong_is_named_with_a_remedy(text: str) -> None:
    with pytest.raises(SettingsError, match=r"NOTIFY_QUIET_HOURS=.*Write HH:MM-HH:MM"):
        parse(text)
