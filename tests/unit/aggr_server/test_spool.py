from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import threading
from pathlib import Path

import pytest

from aggr_server import segments, spool
from aggr_server.epitaph import decode
from aggr_server.segments import SpoolInUse, SpoolUnusable
from aggr_server.spool import Spool
from tests.unit.aggr_server.spooling import (
    BEGIN,
    SMALL,
    Opened,
    closed,
    files,
    filled,
    gaps_and_bars,
    seconds,
)
from tests.waiting import within

eventually = within(30.0)


async def test_what_was_appended_comes_out_in_order(folder: Path, opened: Opened) -> None:
    made = opened(folder)
    messages = [closed(n, markets=3) for n in range(20)]
    for message in messages:
        made.append(message)
    assert (made.waiting, made.last_second) == (20, BEGIN + 19)
    assert made.waiting_bytes == made.bytes == sum(p.stat().st_size for p in files(folder))
    out = await made.unsent(1 << 20)
    assert [decode(r.payload) for r in out.records] == messages
    made.confirm(out.records)
    assert (made.waiting, made.waiting_bytes) == (0, 0)
    assert (await made.unsent(1 << 20)).records == []


async def test_a_batch_is_bounded_but_never_empty(folder: Path, opened: Opened) -> None:
    made = filled(opened(folder), range(10), markets=5)
    assert len((await made.unsent(1)).records) == 1
    size = (await made.unsent(1)).records[0].size
    assert len((await made.unsent(3 * size)).records) == 3


async def test_a_batch_comes_again_until_it_is_confirmed(folder: Path, opened: Opened) -> None:
    made = filled(opened(folder), range(5))
    first = await made.unsent(1)
    assert await made.unsent(1) == first
    made.confirm(first.records)
    assert (await made.unsent(1)).records[0].index == 1


async def test_a_new_process_goes_on_behind_what_was_confirmed(
    folder: Path, opened: Opened
) -> None:
    made = filled(opened(folder), range(10))
    made.confirm((await made.unsent(1 << 20)).records[:4])
    assert made.waiting_bytes == made.bytes * 6 // 10
    again = opened(folder)
    assert (again.waiting, again.last_second) == (6, BEGIN + 9)
    assert again.waiting_bytes == again.bytes * 6 // 10
    filled(again, range(10, 12))
    assert await seconds(again) == list(range(4, 12))
    assert (opened(folder)).waiting == 0


@pytest.mark.parametrize("limit", [1, 3000, 50_000, 1 << 20])
async def test_many_segments_are_read_back_whole(folder: Path, opened: Opened, limit: int) -> None:
    filled(opened(folder), range(800), markets=8)
    assert len(files(folder)) > 5
    made = opened(folder)
    begun = (await made.unsent(20_000)).records
    made.confirm(begun)
    assert await seconds(opened(folder), limit) == list(range(len(begun), 800))


async def test_the_newest_seconds_are_not_read_from_the_disk(
    folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = opened(folder)
    monkeypatch.setattr(segments, "read", None)
    for number in range(50):
        made.append(closed(number, markets=50))
        assert await seconds(made) == [number]


async def test_memory_does_not_grow_while_nothing_is_confirmed(
    folder: Path, opened: Opened
) -> None:
    made = opened(folder, 64 << 20)
    filled(made, range(600), markets=100)
    in_memory = made._recent_bytes + made._unwritten_bytes
    assert made.waiting_bytes > 2 * spool.RECENT_BYTES
    assert in_memory <= spool.RECENT_BYTES
    assert await seconds(made) == list(range(600))


def test_the_end_of_the_past_is_known(folder: Path, opened: Opened) -> None:
    made = opened(folder)
    assert (made.last_second, made.tail(10)) == (None, [])
    messages = [closed(n, markets=2) for n in range(30)]
    for message in messages:
        made.append(message)
    again = opened(folder)
    assert again.last_second == BEGIN + 29
    assert again.tail(10) == messages[-10:]
    assert again.tail(1000) == messages


def test_seconds_before_the_newest_do_not_move_the_end_of_the_past(
    folder: Path, opened: Opened
) -> None:
    made = opened(folder)
    for number in (5, 3):
        made.append(closed(number))
    assert made.last_second == BEGIN + 5


async def test_what_is_confirmed_is_kept_for_a_while_and_then_removed(
    folder: Path, opened: Opened
) -> None:
    made = opened(folder, keep_s=100)
    for number in range(2000):
        made.append(closed(number, markets=8))
        await seconds(made)
    assert len(files(folder)) <= 3
    assert [c.second - BEGIN for c in opened(folder).tail(100)] == list(range(1900, 2000))


async def test_a_lost_cursor_repeats_and_never_skips(folder: Path, opened: Opened) -> None:
    made = filled(opened(folder), range(5))
    await seconds(made)
    for damage in (b"", b"abc", b"\xff\xfe", b"-3"):
        (folder / "cursor").write_bytes(damage)
        again = opened(folder)
        assert await seconds(again) == list(range(5)), damage


async def test_a_cursor_ahead_of_the_disk_hides_nothing_new(folder: Path, opened: Opened) -> None:
    filled(opened(folder), range(5))
    opened.__call__(folder)
    (folder / "cursor").write_text("1000\n")
    made = opened(folder)
    assert made.waiting == 0
    filled(made, range(5, 7))
    assert await seconds(made) == [5, 6]


async def test_truncation_at_every_byte_of_the_last_record(
    tmp_path: Path, folder: Path, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    filled(opened(folder), range(3))
    opened.close()
    (whole,) = files(folder)
    size = whole.stat().st_size
    record = size // 3
    for cut in range(size - record, size):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        os.truncate(files(copy)[0], cut)
        caplog.clear()
        made = opened(copy)
        assert made.last_second == BEGIN + 1
        assert made.bytes == files(copy)[0].stat().st_size
        assert ("cut off" in caplog.text) == (cut > size - record)
        filled(made, range(2, 4))
        assert await seconds(made) == [0, 1, 2, 3]
        assert await seconds(opened(copy)) == []
        assert not [r for r in caplog.records if r.levelno == logging.ERROR]
        opened.close()
        shutil.rmtree(copy)


async def test_a_damaged_middle_is_passed_over_and_reported(
    folder: Path, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    filled(opened(folder), range(10))
    opened.close()
    (path,) = files(folder)
    data = bytearray(path.read_bytes())
    record = len(data) // 10
    data[record * 4 + 40] ^= 0xFF
    path.write_bytes(data)
    made = opened(folder)
    unsent = await made.unsent(1 << 20)
    numbers = [decode(r.payload).second - BEGIN for r in unsent.records]
    assert numbers == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    # A lost record may have amended the seconds before its own.
    assert unsent.lost == [(BEGIN + 4 - spool.LATE_S, BEGIN + 5)]
    assert [r.levelno for r in caplog.records if "damaged" in r.getMessage()] == [logging.ERROR]
    made.confirm(unsent.records)
    assert (await made.unsent(1 << 20)).records == []


async def test_a_lost_segment_is_reported_by_its_seconds(folder: Path, opened: Opened) -> None:
    filled(opened(folder), range(300), markets=8)
    opened.close()
    _, second, third, *_ = files(folder)
    second.write_bytes(os.urandom(second.stat().st_size))
    made, found, lost = opened(folder), [], []
    while (unsent := await made.unsent(1 << 20)).records:
        found += [decode(r.payload).second - BEGIN for r in unsent.records]
        lost += unsent.lost
        made.confirm(unsent.records)
    from_s, to_s = int(second.stem), int(third.stem)
    assert found == [n for n in range(300) if not from_s <= n < to_s]
    assert lost == [(BEGIN + from_s - spool.LATE_S, BEGIN + to_s)]


@pytest.mark.parametrize("restart", [False, True])
async def test_when_full_the_oldest_seconds_become_gaps(
    folder: Path, opened: Opened, caplog: pytest.LogCaptureFixture, *, restart: bool
) -> None:
    made = opened(folder)
    largest = 0
    for number in range(3000):
        made.append(closed(number, markets=8))
        largest = max(largest, sum(p.stat().st_size for p in files(folder)))
    assert largest <= SMALL
    assert made.bytes == sum(p.stat().st_size for p in files(folder))
    assert made.given_up > 1000
    assert "full" in made.alarm
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    first, second = errors
    assert first.startswith("spool more than half full")
    assert second.startswith("bars given up, the spool is full")
    # Fetching them from the exchange now would only fill the spool again.
    assert made.take_lost() == []
    lost = made.given_up
    made = opened(folder) if restart else made
    gaps, bars = await gaps_and_bars(made)
    assert gaps == set(range(lost))
    assert bars == set(range(lost, 3000))
    assert made.alarm == ""
    if not restart:
        told = {(g.market, g.from_s - BEGIN, g.to_s - BEGIN) for g in made.take_lost()}
        assert told == {(f"A:{n}", 0, lost) for n in range(8)}
        assert made.take_lost() == []


async def test_a_segment_given_up_while_it_is_read_is_not_skipped(
    folder: Path, opened: Opened
) -> None:
    filled(opened(folder), range(800), markets=8)
    made = opened(folder)
    begun = (await made.unsent(20_000)).records
    made.confirm(begun)
    number = 800
    while not made.given_up:
        made.append(closed(number, markets=8))
        number += 1
    gaps, bars = await gaps_and_bars(made)
    assert gaps == set(range(len(begun), len(begun) + made.given_up))
    assert gaps | bars == set(range(len(begun), number))


async def test_room_is_made_from_what_is_confirmed_first(folder: Path, opened: Opened) -> None:
    made = opened(folder, keep_s=100_000)
    for number in range(3000):
        made.append(closed(number, markets=8))
        if number < 2500:
            await seconds(made)
    assert made.given_up == 0
    assert await seconds(made) == list(range(2500, 3000))
    assert made.bytes <= SMALL


def test_half_full_is_an_alarm_once(
    folder: Path, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    made, number = opened(folder), 0
    while made.waiting_bytes <= SMALL // 2:
        assert made.alarm == ""
        made.append(closed(number, markets=8))
        number += 1
    filled(made, range(number, number + 100), markets=8)
    assert "bring InfluxDB back" in made.alarm
    assert [r.levelno for r in caplog.records] == [logging.ERROR]
    assert "remedy=" in caplog.text


async def test_a_failing_sync_is_an_alarm(
    folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = filled(opened(folder), range(3))
    monkeypatch.setattr(spool, "SYNC_EVERY_S", 0.0)
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def fsync(_: int) -> None:
        loop.call_soon_threadsafe(failed.set)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    task = asyncio.create_task(made.run())
    await asyncio.wait_for(failed.wait(), 5)
    await eventually(lambda: made.trouble)
    task.cancel()
    assert "Input/output error" in made.alarm


async def test_every_byte_is_synced_off_the_event_loop(
    folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SYNC_EVERY_S", 0.0)
    made = opened(folder)
    synced: set[str] = set()
    threads: set[bool] = set()

    def fsync(fd: int) -> None:
        synced.add(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        threads.add(threading.current_thread() is threading.main_thread())

    monkeypatch.setattr(os, "fsync", fsync)
    filled(made, range(300), markets=8)
    task = asyncio.create_task(made.run())
    expected = {folder.name, *(path.name for path in files(folder))}
    await eventually(lambda: synced == expected)
    task.cancel()
    assert threads == {False}


def test_no_descriptors_pile_up_where_nobody_syncs(folder: Path, opened: Opened) -> None:
    before = len(os.listdir("/proc/self/fd"))
    made = opened(folder, 4 << 20)
    filled(made, range(4000), markets=100)
    assert len(files(folder)) > 10
    assert len(os.listdir("/proc/self/fd")) - before < segments.MAX_UNSYNCED + 10


def test_a_second_process_is_refused(folder: Path, opened: Opened) -> None:
    opened(folder)
    with pytest.raises(SpoolInUse, match=f"in use by another collector .process {os.getpid()}"):
        Spool.open(folder, SMALL)


def test_an_unusable_folder_is_said_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "spool", Path("/proc/spool")):
        with pytest.raises(SpoolUnusable) as caught:
            Spool.open(folder, SMALL)
        text = str(caught.value)
        assert str(folder) in text
        assert "AGGR_DATA_DIR" in text
        assert "\n" not in text
