from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from services.simulator.fault_plan import (
    ClockOffset,
    Drop,
    Duplicate,
    Fault,
    FaultPlan,
    Garble,
    Hang,
    Huge,
    Mute,
    Refuse,
    Reorder,
    Reset,
    RestLag,
    Status,
)
from services.simulator.faults import Faults

from .conftest import Clock

NOW = 1_000_000
MARKETS = {"A:x": "A", "A:y": "A", "B:x": "B"}


class Recorder:
    """Takes frames in place of a client."""

    def __init__(self, since_ms: int = 0) -> None:
        self.since_ms = since_ms
        self.sent: list[Any] = []
        self.delayed: list[float] = []

    def send(self, frame: Any) -> None:
        self.sent.append(frame)

    def send_later(self, frame: Any, delay_ms: float) -> None:
        self.sent.append(frame)
        self.delayed.append(delay_ms)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def faults(clock: Clock) -> Faults:
    return Faults(MARKETS, clock, signed=("B",))


def put(faults: Faults, *found: Fault) -> None:
    faults.put(FaultPlan(found))


def sent(faults: Faults, market: str, frames: Sequence[Any], since_ms: int = 0) -> Recorder:
    client = Recorder(since_ms)
    send = faults.sender(market, "trades")
    assert send is not None
    for frame in frames:
        send(client, frame)  # type: ignore[arg-type]
    return client


def test_without_faults_frames_go_out_as_they_are(faults: Faults) -> None:
    assert faults.sender("A:x", "trades") is None
    assert faults.at_door("A", rest=True) is None
    assert faults.slow("A") is None
    assert faults.clock_offset_ms("A") == 0


def test_a_fault_holds_from_its_beginning_to_its_end(faults: Faults, clock: Clock) -> None:
    put(faults, Mute(venues=("A",), from_ms=NOW + 10, until_ms=NOW + 20))
    held = []
    for clock.now_ms in range(NOW, NOW + 30):
        if faults.sender("A:x", "trades"):
            held.append(clock.now_ms)
    assert held == list(range(NOW + 10, NOW + 20))


def test_a_fault_concerns_what_it_names(faults: Faults) -> None:
    put(faults, Mute(markets=("A:x",), kinds=("liquidations",)))
    assert faults.sender("A:x", "liquidations") is not None
    assert faults.sender("A:x", "trades") is None
    assert faults.sender("A:y", "liquidations") is None
    put(faults, Mute(venues=("B",)))
    assert faults.sender("A:x", "liquidations") is None
    assert faults.sender("B:x", "trades") is not None


def test_mute_connections_send_nothing(faults: Faults) -> None:
    put(faults, Mute())
    assert sent(faults, "A:x", ["f"]).sent == []


def test_a_new_connection_can_escape_a_mute_one(faults: Faults) -> None:
    put(faults, Mute(connections="present"))
    assert sent(faults, "A:x", ["f"], since_ms=NOW - 1).sent == []
    assert sent(faults, "A:x", ["f"], since_ms=NOW).sent == ["f"]


def test_lost_frames_are_as_many_as_asked_for(faults: Faults) -> None:
    put(faults, Drop(probability=0.25))
    assert 650 < len(sent(faults, "A:x", ["f"] * 1000).sent) < 850


def test_frames_are_sent_twice(faults: Faults) -> None:
    put(faults, Duplicate(within_ms=500))
    client = sent(faults, "A:x", ["f"])
    assert client.sent == ["f", "f"]
    assert 0 < max(client.delayed) <= 500


def test_what_is_not_sent_is_not_sent_twice(faults: Faults) -> None:
    put(faults, Duplicate(), Garble(), Mute())
    assert sent(faults, "A:x", ["f"]).sent == []


def test_frames_are_overtaken(faults: Faults) -> None:
    put(faults, Reorder(probability=0.5, within_ms=2000))
    delays = sent(faults, "A:x", ["f"] * 100).delayed
    assert min(delays) == 0
    assert 1000 < max(delays) <= 2000


def test_garbage_comes_before_the_frame_and_not_instead(faults: Faults) -> None:
    put(faults, Garble(ways=("negative",)))
    assert sent(faults, "A:x", ['{"p":1.5}']).sent == ['{"p":-1.5}', '{"p":1.5}']


def test_a_negative_number_is_no_garbage_where_it_means_a_sale(faults: Faults) -> None:
    put(faults, Garble(ways=("negative", "truncated")))
    frames = [frame for _ in range(50) for frame in sent(faults, "B:x", ['{"p":1.5}']).sent]
    assert not any("-" in frame for frame in frames)
    assert any(frame != '{"p":1.5}' for frame in frames)


def test_huge_frames_say_the_same(faults: Faults) -> None:
    put(faults, Huge(size_bytes=1000))
    [frame] = sent(faults, "A:x", ['{"p":1.5}']).sent
    assert len(frame) == 1000
    assert frame.strip() == '{"p":1.5}'


def test_nothing_is_sent_in_the_moments_before_a_reset(faults: Faults, clock: Clock) -> None:
    put(faults, Reset(venues=("A",), from_ms=NOW + 900, drop_ms=900))
    assert sent(faults, "A:x", ["f"]).sent == []
    clock.now_ms = NOW + 900
    assert faults.sender("A:x", "trades") is None


def test_doors_are_closed_to_whom_they_are_closed(faults: Faults) -> None:
    put(faults, Refuse(venues=("A",), rest=False), Status(venues=("B",), status=429, connect=False))
    assert isinstance(faults.at_door("A", rest=False), Refuse)
    assert faults.at_door("A", rest=True) is None
    assert isinstance(faults.at_door("B", rest=True), Status)
    assert faults.at_door("B", rest=False) is None


def test_a_status_may_come_only_now_and_then(faults: Faults) -> None:
    put(faults, Status(status=503, probability=0.5))
    met = [faults.at_door("A", rest=True) is not None for _ in range(200)]
    assert 60 < sum(met) < 140


def test_hanging_ends_with_the_fault(faults: Faults, clock: Clock) -> None:
    put(faults, Hang(until_ms=NOW + 5, rest=False))
    assert faults.hanging("A", rest=False)
    assert not faults.hanging("A", rest=True)
    clock.now_ms = NOW + 5
    assert not faults.hanging("A", rest=False)


def test_clocks_and_lags_belong_to_a_venue(faults: Faults) -> None:
    put(
        faults,
        ClockOffset(venues=("A",), offset_ms=-700),
        ClockOffset(venues=("B",), offset_ms=300),
        RestLag(venues=("B",), lag_ms=3000, latency_ms=40),
    )
    assert (faults.clock_offset_ms("A"), faults.clock_offset_ms("B")) == (-700, 300)
    assert (faults.rest_lag_ms("A"), faults.rest_lag_ms("B")) == (0, 3000)
    assert faults.rest_latency_ms("B") == 40
    assert faults.greatest_offset_ms == 300


def test_another_plan_replaces_the_one_before(faults: Faults) -> None:
    put(faults, Mute())
    put(faults, Huge())
    assert len(faults.plan.faults) == 1
    put(faults)
    assert faults.sender("A:x", "trades") is None
