"""When a backup and a test are due, and what the operator is told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from scripts.backup import service
from scripts.backup.selftest import Result

NOW = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("newest", "at", "due"),
    [
        (None, "02:30", True),
        (datetime(2026, 5, 20, 2, 30, tzinfo=UTC), "02:30", False),
        (datetime(2026, 5, 20, 2, 29, tzinfo=UTC), "02:30", True),
        (datetime(2026, 5, 17, 2, 30, tzinfo=UTC), "02:30", True),
        (datetime(2026, 5, 19, 23, 0, tzinfo=UTC), "23:00", False),
        (datetime(2026, 5, 18, 23, 0, tzinfo=UTC), "23:00", True),
        (datetime(2026, 5, 19, 23, 0, tzinfo=UTC), "12:00", True),
        (datetime(2026, 5, 20, 11, 59, tzinfo=UTC), "12:01", False),
    ],
)
def test_a_backup_is_due_once_a_day_and_a_missed_one_at_once(
    newest: datetime | None, at: str, due: bool
) -> None:
    assert service.due(newest, at, NOW) is due


@pytest.mark.parametrize(
    ("at", "every_days", "due"),
    [
        ("2026-05-13T12:00:00Z", 7, True),
        ("2026-05-13T12:00:01Z", 7, False),
        ("2020-01-01T00:00:00Z", 0, False),
    ],
)
def test_a_test_is_due_after_some_days(at: str, every_days: int, due: bool) -> None:
    result = Result(backup="squeezeflow-20260513T023000Z", at=at, took_s=1.0, values=1)

    assert service.test_due(result, every_days, NOW) is due


def test_the_first_test_is_due_with_the_first_backup() -> None:
    assert service.test_due(None, 7, NOW)
    assert not service.test_due(None, 0, NOW)


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        ("create", 0, ""),
        ("test", 0, ""),
        ("create", 1, "backup_failed"),
        ("create", -9, "backup_failed"),
        ("create", 3, "backup_only_here"),
        ("test", 1, "backup_test_failed"),
    ],
)
def test_what_failed_has_an_alert_of_its_own(what: str, status: int, code: str) -> None:
    assert service.alert_code(what, status) == code
    assert not code or code in service.LEVELS
