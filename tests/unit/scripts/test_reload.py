"""A program under the reloader begins anew with each change, and ends with the reloader."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text("one = 1\n")
    return tmp_path


@pytest.fixture
def reloader(sources: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(ROOT / "scripts" / "reload.py"), str(sources), "--"]
    with subprocess.Popen(
        [*command, sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_change_starts_it_anew_and_the_end_is_passed_on(
    reloader: subprocess.Popen[str], sources: Path
) -> None:
    first = int(line(reloader))

    (sources / "package" / "module.py").write_text("one = 2\n")

    assert "has changed" in line(reloader)
    second = int(line(reloader))
    assert second != first
    assert not Path(f"/proc/{first}").exists()
    reloader.terminate()
    assert reloader.wait(30) != 0
    assert not Path(f"/proc/{second}").exists()


def test_a_new_file_is_a_change(reloader: subprocess.Popen[str], sources: Path) -> None:
    line(reloader)
    (sources / "package" / "more.py").write_text("")
    assert "has changed" in line(reloader)


def test_a_wrong_call_is_explained(tmp_path: Path) -> None:
    script = str(ROOT / "scripts" / "reload.py")
    for arguments in ([], ["."], [str(tmp_path / "none"), "--", "true"]):
        done = subprocess.run([sys.executable, script, *arguments], capture_output=True)
        assert done.returncode == 2
        assert done.stderr
