"""Reasons for which good signals are not entered on."""

from __future__ import annotations

import pytest

from squeezeflow import guards
from tests.unit.freqtrade.test_rules import entry


def test_first_reason_counts() -> None:
    asked = []

    def answer(reason: str | None) -> guards.Guard:
        def guard(signal: object) -> str | None:
            asked.append(reason)
            return reason

        return guard

    found = guards.first_reason([answer(None), answer("one"), answer("two")], entry())
    assert (found, asked) == ("one", [None, "one"])
    assert guards.first_reason([answer(None)], entry()) is None


@pytest.mark.parametrize(
    ("locks", "reason"),
    [
        ([], None),
        (["Auto lock"], None),
        (["Auto lock", "Cooldown period for 5 minutes."], "locked: Cooldown period for 5 minutes."),
        (["longest", "shorter"], "locked: longest"),
        (["3 stoplosses", "daily_loss"], "daily_loss"),
        ([None], "locked: no reason given"),
    ],
)
def test_reason_of_locks(locks: list[str | None], reason: str | None) -> None:
    assert guards.lock_reason(locks) == reason
