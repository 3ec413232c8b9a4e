from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aggr_server import state
from aggr_server.gaps import GapBook
from aggr_server.state import Keeper, Saved, load
from tests.waiting import within

eventually = within(5.0)


async def saved(path: Path) -> None:
    await eventually(path.exists)


async def test_gaps_are_on_disk_as_soon_as_they_are_known(tmp_path: Path) -> None:
    path, book = tmp_path / "deep" / "gaps.json", GapBook()
    keeper = Keeper(path, book)
    running = asyncio.create_task(keeper.run())
    book.begin("A:x", "trades", 5, "silence")
    keeper.followed["A:x"] = ["trades", "liquidations"]
    keeper.touch()
    await saved(path)
    running.cancel()
    found = load(path)
    assert found.followed == {"A:x": ["trades", "liquidations"]}
    assert [(s.from_s, s.reason, s.open) for s in found.spans] == [(5, "silence", True)]


async def test_it_is_not_saved_again_while_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, book = tmp_path / "gaps.json", GapBook()
    keeper = Keeper(path, book)
    running = asyncio.create_task(keeper.run())
    book.begin("A:x", "trades", 5, "silence")
    keeper.look()
    await saved(path)
    path.unlink()
    for second in range(5, 20):
        book.report(second)
        keeper.look()
        await asyncio.sleep(0.002)
    assert not path.exists()
    book.end("A:x", "trades", 20)
    keeper.look()
    await saved(path)
    running.cancel()


async def test_a_disk_that_refuses_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    path, book = blocked / "gaps.json", GapBook()
    keeper = Keeper(path, book)
    running = asyncio.create_task(keeper.run())
    book.begin("A:x", "trades", 5, "silence")
    keeper.look()
    await eventually(lambda: "gaps not kept" in caplog.text)
    blocked.unlink()
    keeper.look()
    await saved(path)
    running.cancel()
    assert len(load(path).spans) == 1


def test_nothing_saved_is_nothing_known(tmp_path: Path) -> None:
    assert load(tmp_path / "gaps.json") == Saved()


def test_a_damaged_file_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "gaps.json"
    path.write_text('{"spans": [{"market"')
    assert state.load(path) == Saved()
    assert str(path) in caplog.text
