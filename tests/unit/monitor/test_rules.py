"""The rules file: what it must hold, how the operator's own goes before it, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aggr_server.env import SettingsError
from services.core.settings import SystemMonitorSettings
from services.monitor import rules
from services.monitor.incidents import RANK, Finding
from services.monitor.measure.catalog import READINGS
from services.monitor.readings import Reading

Write = Callable[[str], str]

WHOLE = """
[mine]
reading = "disk_used_percent"
above = 10
severity = "info"
text = "{subject}: {value:.1f}"
remedy = "look"
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> str:
        path = tmp_path / "own.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def reading(
    name: str, value: float, subject: str = "x", *, detail: str = "", remedy: str = ""
) -> Reading:
    return Reading(name=name, subject=subject, value=value, detail=detail, remedy=remedy)


def found(*readings: Reading, path: str = "") -> dict[str, Finding]:
    """What is wrong, by key."""
    seen = rules.findings(readings, rules.load(path))
    return {finding.key: finding for finding in seen if finding.wrong}


def test_every_reading_has_a_rule_and_every_rule_says_what_to_do() -> None:
    shipped = rules.load()
    assert {rule.reading for rule in shipped.values()} == READINGS.keys()
    assert all(rule.remedy for rule in shipped.values())


def test_the_default_of_the_setting_is_the_shipped_file() -> None:
    assert rules.load(SystemMonitorSettings().alert_rules) == rules.load()


def test_the_head_of_the_file_explains_every_key() -> None:
    head = rules.SHIPPED.read_text(encoding="utf-8").partition("\n[")[0]
    assert [key for key in rules.Rule.__struct_fields__ if key not in head] == []


def test_rules_on_one_reading_differ_in_severity() -> None:
    groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for rule in rules.load().values():
        groups.setdefault((rule.reading, rule.subjects), []).append(RANK[rule.severity])
    assert all(len(ranks) == len(set(ranks)) for ranks in groups.values())


def test_a_service_that_is_down_is_told_soon_one_that_may_be_starting_later() -> None:
    down = found(reading("service_down", 1.0, "redis", detail="no answer"))["service_down:redis"]
    starting = found(reading("service_not_started", 1.0, "redis", detail="no answer"))
    assert (down.hold_s, down.level) == (30, "critical")
    assert starting["service_not_started:redis"].hold_s == 180
    assert down.advice == ("redis is down: no answer; see its log, then start it: ./scripts/up.sh")


def test_a_disk_is_found_above_the_limit_only_and_well_below_another() -> None:
    assert found(reading("disk_used_percent", 80.0, "/")) == {}
    assert list(found(reading("disk_used_percent", 80.5, "/"))) == ["disk_nearly_full:/"]
    assert list(found(reading("disk_used_percent", 96, "/"))) == [
        "disk_nearly_full:/",
        "disk_full:/",
    ]
    by_percent = {}
    for percent in (78.0, 79.0):
        seen = rules.findings([reading("disk_used_percent", percent, "/")], rules.load())
        by_percent[percent] = {finding.code: finding.well for finding in seen}
    assert by_percent == {
        78.0: {"disk_nearly_full": True, "disk_full": True},
        79.0: {"disk_nearly_full": False, "disk_full": True},
    }


@pytest.mark.parametrize("offset_ms", [-300, 300])
def test_a_clock_is_off_in_both_directions(offset_ms: int) -> None:
    off = found(reading("clock_offset_ms", offset_ms, "host"))
    assert list(off) == ["clock_off:host"]
    assert f"{offset_ms:+d} ms" in off["clock_off:host"].text
    assert list(found(reading("clock_offset_ms", 4 * offset_ms, "host"))) == [
        "clock_off:host",
        "clock_wrong:host",
    ]


def test_what_fills_soon_is_worse_the_sooner() -> None:
    soon, later = (
        found(reading("disk_full_in_h", hours, "/"))["disk_fills:/"] for hours in (3.0, 20.0)
    )
    assert soon.badness > later.badness


def test_what_is_not_measured_is_not_found_at_all() -> None:
    assert rules.findings([], rules.load()) == []


def test_the_readings_own_remedy_and_detail_go_into_the_text() -> None:
    full = reading("disk_used_percent", 90, "/", detail="5.0 GB left", remedy="empty the bin")
    (finding,) = found(full).values()
    assert finding.advice == "the disk of / is 90 % full (5.0 GB left); empty the bin"


def test_feeds_of_one_exchange_are_one_finding() -> None:
    names = ["BYBIT/a", "BYBIT/b", "OKEX/a", *(f"DERIBIT/{n}" for n in range(7))]
    down = [reading("feed_down", 1.0, name, detail="timeout") for name in names]
    seen = found(*down, reading("feed_down", 0.0, "BYBIT/c"), reading("feed_down", 0.0, "PHEMEX/a"))
    assert list(seen) == ["feed_down:BYBIT", "feed_down:OKEX", "feed_down:DERIBIT"]
    assert seen["feed_down:BYBIT"].text == "BYBIT sends no market data: BYBIT/a, BYBIT/b: timeout"
    assert "DERIBIT/4 and 2 more: timeout" in seen["feed_down:DERIBIT"].text
    back = rules.findings([reading("feed_down", 0.0, name) for name in names], rules.load())
    assert all(finding.well for finding in back)


def test_a_rule_for_named_subjects_goes_before_the_others() -> None:
    seen = found(
        reading("service_degraded", 1.0, "aggr-server", detail="a"),
        reading("service_degraded", 1.0, "oi-tracker", detail="b"),
    )
    assert list(seen) == ["service_degraded:oi-tracker", "collector_degraded:aggr-server"]


def test_what_explains_a_finding_is_named_for_its_subject_and_source() -> None:
    blind = found(reading("monitor_blind", 1.0, "influx"))["monitor_blind:influx"]
    assert "service_down:aggr-influx" in blind.because_of
    gap = found(reading("market_gap_open_s", 500, "BYBIT:BTCUSDT"))["gap_long:BYBIT"]
    assert gap.because_of == (
        "feed_down:BYBIT",
        "service_down:aggr-server",
        "service_not_started:aggr-server",
    )
    own = found(reading("monitor_blind", 1.0, "host"))["monitor_blind:host"]
    assert not [cause for cause in own.because_of if cause.endswith(":")]


def test_only_a_collector_that_misses_redis_is_down_because_of_it() -> None:
    def causes(detail: str) -> tuple[str, ...]:
        down = reading("service_down", 1.0, "aggr-server", detail=detail)
        return found(down)["service_down:aggr-server"].because_of

    assert "service_down:redis" in causes("Redis is away; no feed is live")
    assert causes("cannot connect to 127.0.0.1:3000") == ()


def test_an_own_file_changes_single_keys_and_adds_and_ends_rules(write: Write) -> None:
    path = write(
        f"[disk_nearly_full]\nabove = 70\nclear_below = 60\n{WHOLE}\n[cpu_high]\nenabled = false\n"
    )
    own = rules.load(path)
    assert own["disk_nearly_full"].above == 70
    assert own["disk_nearly_full"].text == rules.load()["disk_nearly_full"].text
    assert own["mine"].severity == "info"
    assert "cpu_high" not in own
    assert list(found(reading("disk_used_percent", 75, "/"), path=path)) == [
        "disk_nearly_full:/",
        "mine:/",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[disk_full\n", "Expected ']'"),
        ("above = 3\n", "rule above: a rule is a table"),
        ("[disk_full]\nabov = 3\n", "rule disk_full: Object contains unknown field `abov`"),
        ("[disk_full]\nabove = 'much'\n", "rule disk_full: Expected `float | null`"),
        ("[disk_full]\nbelow = 3\n", "rule disk_full: it needs one of above, below"),
        ("[disk_full]\nclear_below = 97\n", "rule disk_full: clear_below goes with above"),
        ("[disk_fills]\nclear_above = 2\n", "rule disk_fills: clear_above goes with below"),
        ("[disk_full]\nseverity = 'bad'\n", "rule disk_full: Invalid enum value 'bad'"),
        ("[disk_full]\nfor_s = -1\n", "rule disk_full: Expected `float` >= 0"),
        ("[disk_full]\ntext = '{valu}'\n", "rule disk_full: its text or because_of"),
        ("[disk_full]\ntext = '{value:q}'\n", "rule disk_full: its text or because_of"),
        ("[disk_full]\ntext = '{'\n", "rule disk_full: its text or because_of"),
        ("[disk_full]\nbecause_of = ['fire']\n", "because_of names 'fire', but there is no"),
        ("[disk_full]\nreading = 'disk'\n", "nothing measures 'disk'; there are backup_age_h"),
        ("[mine]\nabove = 3\n", "rule mine: Object missing required field `reading`"),
        (WHOLE.replace("mine", '"My rule"'), "rule My rule: its name may have small letters"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_one_clear_line(
    write: Write, text: str, reason: str
) -> None:
    path = write(text)
    with pytest.raises(SettingsError) as refused:
        rules.load(path)
    line = str(refused.value)
    assert line.startswith(f"ALERT_RULES={path}: ")
    assert reason in line
    assert "Correct" in line
    assert "\n" not in line


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"ALERT_RULES=/nowhere/rules\.toml: No such file"):
        rules.load("/nowhere/rules.toml")
