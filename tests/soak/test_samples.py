from __future__ import annotations

from pathlib import Path

from tests.soak.samples import Logs


def write(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.write(b"." * size)


def test_bytes_are_counted_over_rotations(tmp_path: Path) -> None:
    log, logs = tmp_path / "redis.log", Logs(tmp_path)
    write(log, 1000)
    assert logs.look() == {"redis": 0}
    write(log, 300)
    assert logs.look() == {"redis": 300}
    write(log, 50)
    log.rename(tmp_path / "redis.log.1")
    write(log, 7)
    assert logs.look() == {"redis": 357}
    write(log, 1)
    assert logs.look() == {"redis": 358}


def test_a_log_that_appears_later_counts_whole(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    assert logs.look() == {}
    write(tmp_path / "simulator.log", 20)
    assert logs.look() == {"simulator": 20}
