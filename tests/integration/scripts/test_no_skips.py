from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def _run(tmp_path: Path, test: str) -> int:
    (tmp_path / "test_it.py").write_text(f"import pytest\n\n{test}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "scripts.no_skips", str(tmp_path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode


@pytest.mark.parametrize(
    ("test", "status"),
    [
        ("def test_a(): pass", 0),
        ("def test_a(): pytest.skip('no server')", 1),
        ("@pytest.mark.skip\ndef test_a(): pass", 1),
        ("pytest.skip('whole file', allow_module_level=True)", 1),
        ("@pytest.mark.xfail\ndef test_a(): assert False", 0),
    ],
)
def test_a_skipped_test_fails_the_run(tmp_path: Path, test: str, status: int) -> None:
    assert (_run(tmp_path, test) != 0) == bool(status)
