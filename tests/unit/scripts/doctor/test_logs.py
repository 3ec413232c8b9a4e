from __future__ import annotations

from pathlib import Path

import pytest

from scripts.doctor import logs

OURS = '2026-11-20T10:00:00.123Z level=ERROR service=aggr-server logger=x disk full path="/a b"'


@pytest.mark.parametrize(
    "line",
    [
        OURS,
        "2026-11-20 10:00:00,123 - freqtrade - ERROR - Fatal exception!",
        'ts=2026-11-20T10:00:00.1Z lvl=error msg="Unable to open series"',
        "3351:M 20 Nov 2026 10:00:00.000 # Fatal error loading the DB: Permission denied. Exiting.",
        "ValueError: bad",
        "redis.exceptions.ConnectionError: refused",
    ],
)
def test_errors_of_every_program_are_recognised(line: str) -> None:
    assert logs.last_error(f"before\n{line}\n... level=INFO errors=0 after\n") == line


@pytest.mark.parametrize("line", ["level=INFO errors=0 all well", "no Errors here", "", "warn"])
def test_what_is_no_error_is_not_taken_for_one(line: str) -> None:
    assert logs.last_error(line) == ""


def test_the_last_error_counts() -> None:
    assert (
        logs.last_error("level=ERROR one\nlevel=ERROR two\nlevel=INFO three") == "level=ERROR two"
    )


def test_a_long_line_is_cut() -> None:
    found = logs.last_error(f"level=ERROR {'x' * 1000}")
    assert len(found) == logs.LONGEST
    assert found.endswith("...")


def test_only_the_end_of_a_large_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    path.write_text("level=ERROR old\n" + "level=INFO x\n" * (logs.READ_BYTES // 10))
    assert logs.last_error(logs.end_of(path)) == ""
    assert logs.last_line(logs.end_of(path)) == "level=INFO x"


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert logs.end_of(tmp_path / "none.log") == ""
