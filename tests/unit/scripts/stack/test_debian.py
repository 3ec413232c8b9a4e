from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts.stack import debian
from scripts.stack.progress import Progress
from scripts.stack.running import StackError
from tests.programs import program


def test_programs_in_path_are_used(path: Path, tmp_path: Path) -> None:
    program(path / "redis-server", "exit 0")
    program(path / "influxd", "exit 0")
    found = debian.find(tmp_path / ".local")
    assert found is not None
    assert found.influxd == str(path / "influxd")


def test_a_program_that_does_not_run_is_not_used(path: Path, tmp_path: Path) -> None:
    program(path / "redis-server", "exit 0")
    program(path / "influxd", "exit 127")
    assert debian.find(tmp_path / ".local") is None


def test_what_was_fetched_earlier_is_found(path: Path, tmp_path: Path) -> None:
    fetched = tmp_path / ".local" / "debian" / "bin"
    program(fetched / "redis-server", "exit 0")
    program(fetched / "influxd", "exit 0")
    found = debian.find(tmp_path / ".local")
    assert found is not None
    assert found.redis_server == str(fetched / "redis-server")


@pytest.mark.usefixtures("path")
def test_another_distribution_gets_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"apt-get.*not found.*Install redis-server"):
        debian.ensure(tmp_path / ".local", Progress())


def test_a_starter_finds_libraries_and_passes_arguments_on(tmp_path: Path) -> None:
    root = tmp_path / "ro ot"
    (root / "lib").mkdir(parents=True)
    for name in ("redis-server", "influxd"):
        program(root / "usr" / "bin" / name, 'echo "$LD_LIBRARY_PATH" "$@"')
    debian.write_starters(tmp_path / "bin", root)
    done = subprocess.run(
        [tmp_path / "bin" / "influxd", "run", "a b"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{root}/lib run a b\n"
