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


def test_operator_is_reminded_of_what_lasts_after_hours_only() -> None:
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


def test_end_is_told_once_and_what_comes_back_is_news() -> None:
    alarms = Alarms()
    alarms.over("second_executor", 0)
    assert alarms.waiting() == []
    alarms.say("critical", "second_executor", "b", 1_000)
    alarms.say("critical", "second_executor", "c", 2_000)
    alarms.told(alarms.waiting()[0])
    alarms.over("second_executor", 61_000)
    alarms.over("second_executor", 62_000)
    (end,) = alarms.waiting()
    assert (end.level, end.ended_level, end.ts_ms) == ("info", "critical", 61_000)
    assert end.text == "over after 60 s: c"
    alarms.told(end)
    alarms.say("critical", "second_executor", "c", 63_000)
    assert [alert.level for alert in alarms.waiting()] == ["critical"]
