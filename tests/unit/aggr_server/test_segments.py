"""The files of the spool: what is found of an earlier run, and what reading does without them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from aggr_server import segments
from aggr_server.framing import Record
from aggr_server.segments import Reader, Segments

BYTES = 1000


def record(index: int) -> Record:
    return Record(index, 1_700_000_000 + index, b"x" * 100)


@pytest.fixture
def made(tmp_path: Path) -> Segments:
    """Thirty records in several files."""
    made = Segments(tmp_path, BYTES)
    for index in range(30):
        made.append(record(index))
    made.close()
    return made


def loaded(folder: Path) -> Segments:
    found = Segments(folder, BYTES)
    found.load()
    return found


def test_other_files_are_let_be(made: Segments, tmp_path: Path) -> None:
    (tmp_path / "copy of mine.segment").write_text("keep")
    assert [s.first for s in loaded(tmp_path).row] == [s.first for s in made.row]
    assert (tmp_path / "copy of mine.segment").read_text() == "keep"


def test_a_file_begun_just_before_a_crash_is_removed(made: Segments, tmp_path: Path) -> None:
    begun = tmp_path / f"{30:020d}.segment"
    begun.touch()
    found = Segments(tmp_path, BYTES)
    assert found.load()[-1] == record(29)
    assert [s.path for s in found.row] == [s.path for s in made.row]
    assert not begun.exists()


async def test_a_file_that_is_gone_is_passed_over(
    made: Segments, caplog: pytest.LogCaptureFixture
) -> None:
    gone = made.row[1]
    gone.path.unlink()
    records = await Reader(made).read(gone.first, 1)
    assert records[0].index == made.row[2].first
    assert str(gone.path) in caplog.text


async def test_a_disk_that_may_answer_later_is_asked_again(
    made: Segments, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    reader = Reader(made)
    with monkeypatch.context() as broken:
        broken.setattr(segments, "read", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            await reader.read(0, 1)
    assert (await reader.read(0, 1))[0].index == 0


async def test_behind_the_last_record_there_is_nothing(made: Segments) -> None:
    assert await Reader(made).read(30, BYTES) == []
