"""The spool on a disk that fills up, refuses, or was tampered with."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from aggr_server import segments, spool
from aggr_server.segments import SpoolUnusable
from aggr_server.spool import Spool
from tests.unit.aggr_server.spooling import (
    BEGIN,
    SMALL,
    Disk,
    Opened,
    closed,
    files,
    filled,
    gaps_and_bars,
    seconds,
)
from tests.waiting import within

eventually = within(30.0)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EFBIG])
async def test_a_disk_that_refuses_is_an_alarm_at_once_and_costs_nothing(
    folder: Path, opened: Opened, disk: Disk, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    made = filled(opened(folder), range(5))
    disk.error, disk.room = error, 50
    filled(made, range(5, 8))
    assert os.strerror(error) in made.alarm
    assert [r.levelno for r in caplog.records] == [logging.ERROR]
    assert "remedy=" in caplog.text
    assert await seconds(made) == list(range(8))
    filled(made, range(8, 12))
    disk.error = 0
    filled(made, range(12, 13))
    assert made.alarm == ""
    assert (await made.unsent(1)).records[0].index == 8
    again = opened(folder)
    assert await seconds(again) == list(range(8, 13))
    assert "damaged" not in caplog.text


async def test_a_full_disk_gets_back_what_is_confirmed(
    folder: Path, opened: Opened, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = filled(opened(folder, keep_s=100_000), range(300), markets=8)
    await seconds(made)
    before = len(files(folder))
    delete = segments.Segments.delete

    def freed(self: segments.Segments, position: int) -> None:
        delete(self, position)
        disk.error = 0

    monkeypatch.setattr(segments.Segments, "delete", freed)
    disk.error = errno.ENOSPC
    filled(made, range(300, 310))
    assert (made.alarm, made.given_up) == ("", 0)
    assert len(files(folder)) == before - 1
    assert await seconds(made) == list(range(300, 310))


def overflowed(made: Spool, disk: Disk, monkeypatch: pytest.MonkeyPatch, error: int) -> Spool:
    """300 seconds on the disk, then 1200 that it refuses, for which memory has no room."""
    monkeypatch.setattr(spool, "MEMORY_BYTES", 50_000)
    filled(made, range(300), markets=8)
    disk.error = error
    filled(made, range(300, 1500), markets=8)
    assert made._unwritten_bytes <= 50_000
    return made


async def test_a_full_disk_and_memory_cost_the_oldest(
    folder: Path, opened: Opened, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = overflowed(opened(folder), disk, monkeypatch, errno.ENOSPC)
    on_disk = len(files(folder))
    assert made.given_up > 0
    disk.error = 0
    filled(made, range(1500, 1501), markets=8)
    assert made.trouble == ""
    gaps, bars = await gaps_and_bars(made)
    assert gaps | bars == set(range(1501))
    assert not gaps & bars
    assert len(gaps) == made.given_up
    assert set(range(1480, 1501)) <= bars
    assert on_disk >= 1


async def test_a_disk_that_cannot_even_delete_costs_the_oldest_in_memory(
    folder: Path, opened: Opened, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = overflowed(opened(folder), disk, monkeypatch, errno.EROFS)
    gaps, bars = await gaps_and_bars(made)
    assert gaps | bars == set(range(1500))
    assert set(range(300)) <= bars
    assert min(gaps) == 300


def failing(*arguments: Any) -> Any:
    """A call the disk refuses."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


async def test_a_record_that_cannot_be_taken_back_is_passed_over_by_readers(
    folder: Path, opened: Opened, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = filled(opened(folder), range(3))
    disk.error, disk.room = errno.EIO, 50
    with monkeypatch.context() as broken:
        broken.setattr(os, "ftruncate", failing)
        filled(made, range(3, 4))
    disk.error = 0
    filled(made, range(4, 6))
    assert made.alarm == ""
    assert len(files(folder)) == 2
    assert made.bytes == sum(path.stat().st_size for path in files(folder))
    assert await seconds(opened(folder)) == list(range(6))


async def test_the_first_record_of_a_file_that_cannot_be_taken_back_begins_it_anew(
    folder: Path, opened: Opened, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = opened(folder)
    disk.error, disk.room = errno.EIO, 50
    with monkeypatch.context() as broken:
        broken.setattr(os, "ftruncate", failing)
        filled(made, range(1))
    disk.error = 0
    filled(made, range(1, 3))
    assert made.bytes == sum(path.stat().st_size for path in files(folder))
    assert await seconds(opened(folder)) == [0, 1, 2]


async def test_a_full_disk_on_which_nothing_can_be_removed_costs_nothing(
    folder: Path, opened: Opened, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = filled(opened(folder, keep_s=100_000), range(300), markets=8)
    await seconds(made)
    disk.error = errno.ENOSPC
    with monkeypatch.context() as broken:
        broken.setattr(segments.Segments, "delete", failing)
        filled(made, range(300, 310))
    disk.error = 0
    filled(made, range(310, 311))
    assert (made.alarm, made.given_up) == ("", 0)
    assert await seconds(made) == list(range(300, 311))


async def test_what_waits_in_memory_is_written_though_no_second_closes(
    folder: Path, opened: Opened, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SYNC_EVERY_S", 0.0)
    made = opened(folder)
    disk.error = errno.ENOSPC
    filled(made, range(3))
    disk.error = 0
    task = asyncio.create_task(made.run())
    await eventually(lambda: not made.trouble)
    task.cancel()
    assert await seconds(opened(folder)) == [0, 1, 2]


async def test_a_second_larger_than_the_spool_is_kept(folder: Path, opened: Opened) -> None:
    made = filled(opened(folder, 2_000), range(2), markets=100)
    assert made.given_up == 0
    assert await seconds(made) == [0, 1]


async def test_a_damaged_segment_makes_room_and_is_told_as_lost(
    folder: Path, opened: Opened
) -> None:
    filled(opened(folder), range(300), markets=8)
    opened.close()
    first, second, *_ = files(folder)
    first.write_bytes(os.urandom(first.stat().st_size))
    made, number = opened(folder), 300
    while first.exists():
        made.append(closed(number, markets=8))
        number += 1
    assert made.given_up == 0
    lost_to = int(second.stem)
    assert (await made.unsent(1)).lost == [(BEGIN - spool.LATE_S, BEGIN + lost_to)]


async def test_a_segment_that_cannot_be_read_is_not_given_up(
    folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, number = filled(opened(folder), range(1)), 1
    with monkeypatch.context() as broken:
        broken.setattr(segments, "read", failing)
        while not made.trouble and number < 3000:
            made.append(closed(number, markets=8))
            number += 1
    assert made.given_up == 0
    assert await seconds(made) == list(range(number))


async def test_a_cursor_that_cannot_be_written_is_an_alarm_and_repeats(
    folder: Path, opened: Opened
) -> None:
    made = filled(opened(folder), range(3))
    (folder / "cursor.new").mkdir()
    await seconds(made)
    assert "the spool cannot be written" in made.alarm
    made = opened(folder)
    assert await seconds(made) == [0, 1, 2]
    (folder / "cursor.new").rmdir()
    filled(made, range(3, 4))
    assert await seconds(made) == [3]
    assert await seconds(opened(folder)) == []


def test_a_file_that_cannot_be_read_is_left_out_of_the_past(
    folder: Path, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    made = filled(opened(folder), range(300), markets=8)
    first, second, *_ = files(folder)
    first.unlink()
    found = [message.second - BEGIN for message in made.tail(1000)]
    assert found == list(range(int(second.stem), 300))
    assert str(first) in caplog.text


def test_a_spool_that_cannot_be_opened_lets_go_of_its_folder(folder: Path, opened: Opened) -> None:
    filled(opened(folder), range(1))
    opened.close()
    in_the_way = folder / "00000000000000000009.segment"
    in_the_way.mkdir()
    with pytest.raises(SpoolUnusable):
        Spool.open(folder, SMALL)
    in_the_way.rmdir()
    assert opened(folder).waiting == 1


def test_a_sync_that_fails_at_the_end_is_told_and_the_folder_let_go(
    folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    filled(opened(folder), range(1))
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", failing)
        opened.close()
    assert [r.levelno for r in caplog.records] == [logging.ERROR]
    assert opened(folder).waiting == 1
