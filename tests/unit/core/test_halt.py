"""The newest position of the kill switch counts, and is not forgotten."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.halt import HaltMemory, decode, describe, outranks
from services.core.records import Halt

NOW_MS = 1_800_000_000_000
ON = Halt(halted=True, ts_ms=NOW_MS, by="me@here", reason="news")
OFF = Halt(halted=False, ts_ms=NOW_MS + 1, by="me@here")

records = st.builds(Halt, halted=st.booleans(), ts_ms=st.integers(1, 5))


def raw(halt: Halt) -> bytes:
    """As it stands in Redis."""
    return msgspec.json.encode(halt)


def test_entries_are_allowed_until_the_switch_is_thrown(tmp_path: Path) -> None:
    memory = HaltMemory(tmp_path / "halt.json")
    assert not memory.learn(None, NOW_MS)
    assert not memory.current.halted
    assert memory.restored(None) is None


def test_switch_survives_a_restart_and_lost_data(tmp_path: Path) -> None:
    HaltMemory(tmp_path / "halt.json").learn(raw(ON), NOW_MS)
    memory = HaltMemory(tmp_path / "halt.json")
    assert not memory.learn(None, NOW_MS)
    assert memory.current == ON
    assert memory.restored(None) == raw(ON)


def test_lifting_survives_as_well(tmp_path: Path) -> None:
    memory = HaltMemory(tmp_path / "halt.json")
    memory.learn(raw(ON), NOW_MS)
    memory.learn(raw(OFF), NOW_MS)
    assert not HaltMemory(tmp_path / "halt.json").current.halted


def test_older_record_from_a_backup_is_replaced(tmp_path: Path) -> None:
    memory = HaltMemory(tmp_path / "halt.json")
    memory.learn(raw(OFF), NOW_MS)
    assert not memory.learn(raw(ON), NOW_MS)
    assert memory.restored(raw(ON)) == raw(OFF)
    assert memory.restored(raw(OFF)) is None


@given(st.lists(records, min_size=1, max_size=4))
def test_order_of_arrival_does_not_matter(arrived: list[Halt]) -> None:
    ends = set()
    for order in itertools.permutations(arrived):
        memory = HaltMemory()
        for record in order:
            memory.learn(raw(record), NOW_MS)
        ends.add((memory.current.ts_ms, memory.current.halted))
    newest = max(record.ts_ms for record in arrived)
    halted = any(record.halted for record in arrived if record.ts_ms == newest)
    assert ends == {(newest, halted)}


def test_of_two_at_the_same_time_the_halt_counts() -> None:
    off = Halt(halted=False, ts_ms=ON.ts_ms)
    assert outranks(ON, off)
    assert not outranks(off, ON)


@pytest.mark.parametrize("value", [b"1", b"", b"{", b'{"halted":"yes","ts_ms":1}'])
def test_value_set_by_hand_halts_and_becomes_a_record(value: bytes) -> None:
    memory = HaltMemory()
    assert memory.learn(value, NOW_MS)
    assert memory.current.halted
    restored = memory.restored(value)
    assert restored is not None
    assert decode(restored, 0) == memory.current
    assert not memory.learn(restored, NOW_MS + 5)
    assert memory.learn(raw(OFF), NOW_MS)
    assert not memory.current.halted


def test_damaged_file_halts_until_a_record_is_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "halt.json").write_bytes(b"\0\0")
    memory = HaltMemory(tmp_path / "halt.json")
    assert "kill_switch.py off" in caplog.text
    assert memory.current.halted
    assert memory.restored(None) is None
    memory.learn(raw(OFF), NOW_MS)
    assert not memory.current.halted


def test_file_that_cannot_be_written_is_tried_again_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "data" / "halt.json"
    memory = HaltMemory(file)
    for _ in range(3):
        memory.learn(raw(ON), NOW_MS)
    assert memory.current == ON
    assert len(caplog.records) == 1
    file.parent.mkdir()
    memory.learn(raw(ON), NOW_MS)
    assert HaltMemory(file).current == ON


@pytest.mark.parametrize(
    ("halt", "text"),
    [
        (ON, "halted by me@here: news"),
        (Halt(halted=True, ts_ms=1), "halted"),
        (Halt(halted=True, ts_ms=1, by="me"), "halted by me"),
        (OFF, ""),
    ],
)
def test_description(halt: Halt, text: str) -> None:
    assert describe(halt) == text
