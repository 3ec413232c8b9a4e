from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


PASSED = "def test_a(): pass"
SKIPPED = "def test_a(): pytest.skip('no server')"
WHOLE_FILE = "pytest.skip('whole file', allow_module_level=True)"


def _run(tmp_path: Path, test: str, *options: str) -> int:
    (tmp_path / "test_it.py").write_text(f"import pytest\n\n{test}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "scripts.no_skips", *options]
    command.append(str(tmp_path))
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode


@pytest.mark.parametrize(
    ("test", "status"),
    [
        (PASSED, 0),
        (SKIPPED, 1),
        ("@pytest.mark.skip\ndef test_a(): pass", 1),
        (WHOLE_FILE, 1),
        ("@pytest.mark.xfail\ndef test_a(): assert False", 0),
    ],
)
def test_a_skipped_test_fails_the_run(tmp_path: Path, test: str, status: int) -> None:
    assert (_run(tmp_path, test) != 0) == bool(status)


@pytest.mark.parametrize(("test", "status"), [(PASSED, 0), (SKIPPED, 1), (WHOLE_FILE, 1)])
def test_also_where_the_tests_are_spread_over_processes(
    tmp_path: Path, test: str, status: int
) -> None:
    (tmp_path / "test_other.py").write_text(PASSED + "\n")
    assert _run(tmp_path, test, "-n", "2") == status
