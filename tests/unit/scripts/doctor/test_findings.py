from __future__ import annotations

import json

from scripts.doctor import findings
from scripts.doctor.findings import Finding, Group

GROUP = Group("Machine")
GOOD = GROUP.ok("python", "3.13.5")
NOTED = GROUP.note("cores", "2; 8 carry all exchanges")
WARNED = GROUP.warn("overcommit", "0", "set it to 1")
FAILED = Group("Files").fail(".env", "line 2: no =", "correct it")


def test_the_exit_status_is_that_of_the_gravest_finding() -> None:
    for found, status in (
        ([], 0),
        ([GOOD, NOTED], 0),
        ([GOOD, WARNED], 1),
        ([FAILED, WARNED, GOOD], 2),
    ):
        assert findings.exit_status(found) == status


def test_what_is_well_takes_one_line_and_what_is_not_has_its_remedy_below() -> None:
    lines = findings.text([GOOD, WARNED], colours=False).splitlines()
    assert lines[:3] == ["Machine", "  ok    python      3.13.5", "  warn  overcommit  0"]
    assert lines[3].strip() == "remedy: set it to 1"
    assert lines[-1] == "Nothing fails, 1 warning."


def test_the_end_says_what_to_begin_with() -> None:
    text = findings.text([WARNED, FAILED, FAILED, WARNED], colours=False)
    assert text.endswith("2 fail, 2 warnings. Begin with: files, .env.")


def test_findings_of_a_group_stand_together_whoever_found_them() -> None:
    clock = [Group("Network").ok("dns", "3 hosts"), GOOD, Group("Network").ok("clock", "+3 ms")]
    lines = [line.split() for line in findings.text(clock, colours=False).splitlines() if line]
    assert [line[0] for line in lines if line[0] in ("Network", "Machine")] == [
        "Network",
        "Machine",
    ]


def test_only_the_state_is_coloured_and_only_if_asked_for() -> None:
    assert "\033" not in findings.text([FAILED], colours=False)
    assert "\033[31mfail\033[0m" in findings.text([FAILED], colours=True)


def test_a_finding_of_several_lines_is_indented() -> None:
    found = Finding("Services", "redis", "fail", "starting\nlvl=error no memory", "see its log")
    lines = findings.text([found], colours=False).splitlines()
    assert lines[2] == " " * 15 + "lvl=error no memory"


def test_as_json_nothing_is_left_out() -> None:
    document = json.loads(findings.document([GOOD, WARNED], 1.26))
    assert (document["status"], document["seconds"]) == ("warn", 1.3)
    assert document["findings"][1] == {
        "group": "Machine",
        "name": "overcommit",
        "state": "warn",
        "found": "0",
        "remedy": "set it to 1",
    }
    assert json.loads(findings.document([NOTED], 0))["status"] == "ok"
