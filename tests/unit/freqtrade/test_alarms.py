"""Alerts wait until they are taken, and the same one is not told all the time."""

from __future__ import annotations

from squeezeflow.alarms import AGAIN_MS, Alarms


def test_alert_waits_until_it_is_told() -> None:
    alarms = Alarms()
    alarms.say("critical", "unknown_position", "long 1 BTC", 1000)
    (alert,) = alarms.waiting()
    assert (alert.level, alert.code, alert.text, alert.ts_ms) == (
        "critical", "unknown_position", "long 1 BTC", 1000,
    )  # fmt: skip
    alarms.told(alert)
    assert alarms.waiting() == []


def test_same_text_is_repeated_after_five_minutes_only() -> None:
    alarms = Alarms()
    alarms.say("warning", "halt", "on", 0)
    alarms.told(alarms.waiting()[0])
    alarms.say("warning", "halt", "on", AGAIN_MS - 1)
    assert alarms.waiting() == []
    alarms.say("warning", "halt", "on", AGAIN_MS)
    assert len(alarms.waiting()) == 1


def test_other_text_is_news_and_replaces_what_waits() -> None:
    alarms = Alarms()
    alarms.say("warning", "halt", "on", 0)
    (first,) = alarms.waiting()
    alarms.say("warning", "halt", "off", 1)
    alarms.told(first)
    assert [alert.text for alert in alarms.waiting()] == ["off"]


def test_what_was_over_is_news_again() -> None:
    alarms = Alarms()
    alarms.say("critical", "second_executor", "b", 0)
    alarms.told(alarms.waiting()[0])
    alarms.over("second_executor")
    alarms.say("critical", "second_executor", "b", 1)
    assert len(alarms.waiting()) == 1
