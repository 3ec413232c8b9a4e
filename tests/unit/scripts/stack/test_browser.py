from __future__ import annotations

from pathlib import Path

import pytest

from scripts.stack import browser
from scripts.stack.progress import Progress
from scripts.stack.running import StackError
from tests.programs import program

WORKS = "echo '<html><p>ready</p></html>'"
BROKEN = "exit 127"


def test_the_machines_own_browser_is_used(path: Path, tmp_path: Path) -> None:
    own = program(path / "chromium", WORKS)
    assert browser.find(tmp_path / ".local") == str(own)


def test_a_browser_that_does_not_run_gives_way_to_the_one_fetched(
    path: Path, tmp_path: Path
) -> None:
    program(path / "chromium", BROKEN)
    local = tmp_path / ".local"
    assert browser.find(local) is None
    fetched = program(local / "chromium" / "bin" / "chromium-headless-shell", WORKS)
    assert browser.find(local) == str(fetched)


@pytest.mark.usefixtures("path")
def test_another_distribution_gets_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"apt-get and dpkg-deb not found.*install chromium"):
        browser.ensure(tmp_path / ".local", Progress())
