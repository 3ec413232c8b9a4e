from __future__ import annotations

from pathlib import Path

import pytest

from scripts.stack import sources

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "services/a/b.py",
        "services/monitor/rules.toml",
        "freqtrade/config/config.json",
        "freqtrade/launch.py",
        "docker-compose.yml",
        ".env",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".local").mkdir()
    return tmp_path


def test_what_was_just_started_is_not_outdated(root: Path) -> None:
    sources.remember(root)
    assert not sources.outdated(root)


@pytest.mark.parametrize(
    "name",
    ["services/a/b.py", "services/monitor/rules.toml", "freqtrade/config/config.json",
     "freqtrade/launch.py", "docker-compose.yml", ".env", "services/new.py",
     "docker-compose.override.yml"],
)  # fmt: skip
def test_a_change_of_sources_or_settings_is_seen(root: Path, name: str) -> None:
    sources.remember(root)
    (root / name).write_text("y")
    assert sources.outdated(root)


def test_a_file_that_is_gone_is_seen(root: Path) -> None:
    sources.remember(root)
    (root / "services/a/b.py").unlink()
    assert sources.outdated(root)


@pytest.mark.parametrize(
    "name", ["README.md", ".local/log/x.log", "services/a/__pycache__/b.pyc", "backups/x.py"]
)
def test_what_does_not_run_does_not_count(root: Path, name: str) -> None:
    sources.remember(root)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("y")
    assert not sources.outdated(root)


def test_without_knowledge_nothing_is_said(root: Path) -> None:
    assert not sources.outdated(root)


def test_every_folder_of_sources_is_there() -> None:
    assert [name for name in sources.SOURCES if not (ROOT / name).is_dir()] == []
