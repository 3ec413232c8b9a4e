from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts.doctor import values
from scripts.doctor.findings import Finding
from scripts.doctor.site import Site
from scripts.stack import retired
from scripts.stack.settings import setting_names

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copy(ROOT / ".env.example", tmp_path)
    return tmp_path


def wrong(root: Path, **written: str) -> list[Finding]:
    return [f for f in values.check(Site(root, written)) if f.state in ("warn", "fail")]


def test_settings_that_exist_are_known_and_right(root: Path) -> None:
    assert wrong(root, PORT="3001", FREQTRADE__MAX_OPEN_TRADES="2", COMPOSE_FILE="a:b") == []


def test_every_setting_is_known(root: Path) -> None:
    assert setting_names() <= values.documented(root)


def test_a_misspelt_setting_is_told_with_the_one_that_was_meant(root: Path) -> None:
    (found,) = wrong(root, SQUEEZEFLOW_MIN_SCOR="5")
    assert "SQUEEZEFLOW_MIN_SCOR" in found.found
    assert "did you mean SQUEEZEFLOW_MIN_SCORE?" in found.remedy


@pytest.mark.parametrize("name", sorted(retired.RETIRED))
def test_a_retired_setting_is_told_with_what_took_its_place(root: Path, name: str) -> None:
    (found,) = wrong(root, **{name: "1"})
    assert found.state == "warn"
    assert name in found.found
    assert retired.RETIRED[name] in found.remedy
    assert "delete the line" in found.remedy


def test_no_setting_that_acts_is_called_retired() -> None:
    assert retired.RETIRED.keys() & setting_names() == set()


def test_what_took_the_place_of_a_retired_setting_exists(root: Path) -> None:
    rules = (ROOT / "services/monitor/rules.toml").read_text()
    for text in retired.RETIRED.values():
        for word in text.split():
            if "_" in word and word.islower() and "/" not in word and not word.endswith("_s"):
                assert f"[{word}]" in rules
    assert "ALERT_RULES" in values.documented(root)


def test_each_wrong_value_fails_by_itself(root: Path) -> None:
    found = wrong(root, REDIS_PORT="seventy", AGGR_GRACE_MS="-1")
    assert [f.state for f in found] == ["fail", "fail"]
    assert {f.found for f in found} == {"REDIS_PORT='seventy'", "AGGR_GRACE_MS='-1'"}
    assert all(f.remedy for f in found)


def test_without_packages_values_are_said_to_be_unchecked(root: Path) -> None:
    found = list(values.check(Site(root, {"REDIS_PORT": "seventy"}, packages=False)))
    assert [f.state for f in found] == ["ok", "note"]
