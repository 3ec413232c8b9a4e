from __future__ import annotations

from random import Random

import msgspec
import pytest

from services.simulator.fault_plan import GARBAGE, Garbage
from services.simulator.garbage import garbled

FRAME = '{"s":"BTC-1.5","p":"95.25","q":0.125,"T":1626992741421,"time":"2026-11-22T10:00:05.250Z"}'


@pytest.mark.parametrize("way", GARBAGE)
def test_garbage_is_never_the_trade_itself(way: Garbage) -> None:
    luck = Random(1)
    for _ in range(200):
        broken = garbled(FRAME, way, luck)
        assert broken is not None
        assert broken != FRAME
        try:
            read = msgspec.json.decode(broken)
        except msgspec.DecodeError:
            continue
        price, size = read["p"], read["q"]
        assert price != "95.25" or size != 0.125
        for number in (price, size):
            assert number in ("95.25", 0.125) or str(number) == "NaN" or _unusable(number)


def _unusable(number: object) -> bool:
    try:
        return float(str(number)) < 0
    except ValueError:
        return True


def test_symbols_and_times_are_left_alone() -> None:
    luck = Random(2)
    for _ in range(100):
        broken = garbled(FRAME, "negative", luck)
        assert isinstance(broken, str)
        assert "BTC-1.5" in broken
        assert "10:00:05.250Z" in broken


def test_a_frame_without_numbers_cannot_be_given_a_wrong_one() -> None:
    assert garbled('{"event":"pong"}', "negative", Random(1)) is None


def test_binary_frames_are_only_cut() -> None:
    frame = bytes(range(100))
    for way in GARBAGE:
        broken = garbled(frame, way, Random(3))
        assert isinstance(broken, bytes)
        assert 0 < len(broken) < len(frame)
        assert frame.startswith(broken)
