"""Line protocol, and points that wait for InfluxDB."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import pytest

from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable, PointsRefused
from services.core.points import PointStore, line


def test_types_survive_and_absent_fields_are_left_out() -> None:
    text = line("m", {"t": "a b"}, {"f": 1.0, "i": 2, "s": 'x "y"', "b": True, "n": None}, 1500)
    assert text == 'm,t=a\\ b b=True,f=1.0,i=2i,s="x \\"y\\"" 1500'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_float_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="f is"):
        line("m", {}, {"f": value}, 1)


def test_a_point_without_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one field"):
        line("m", {}, {"f": None}, 1)


class FakeInflux:
    """Takes points unless told to fail."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.failure: Exception | None = None

    async def write(self, lines: Iterable[str], *, precision: str) -> None:
        assert precision == "ms"
        if self.failure is not None:
            raise self.failure
        self.taken += list(lines)


def store_on(influx: FakeInflux, capacity: int = 20_000, batch: int = 1000) -> PointStore:
    return PointStore(cast(InfluxClient, influx), capacity=capacity, batch=batch)


async def test_points_wait_while_influx_is_away_and_follow_in_order() -> None:
    influx = FakeInflux()
    store = store_on(influx, batch=2)
    influx.failure = InfluxUnavailable("away")
    assert not await store.write(["a", "b", "c"])
    assert (len(store), store.error) == (3, "away")
    influx.failure = None
    assert await store.write(["d"])
    assert influx.taken == ["a", "b", "c", "d"]
    assert (len(store), store.error, store.dropped) == (0, "", 0)


async def test_beyond_the_capacity_the_oldest_go_and_are_counted() -> None:
    influx = FakeInflux()
    store = store_on(influx, capacity=2)
    influx.failure = InfluxUnavailable("away")
    await store.write(["a", "b", "c"])
    assert store.dropped == 1
    influx.failure = None
    await store.write([])
    assert influx.taken == ["b", "c"]


async def test_refused_points_do_not_block_later_ones() -> None:
    influx = FakeInflux()
    store = store_on(influx)
    influx.failure = PointsRefused("partial write: field type conflict")
    assert await store.write(["bad"])
    influx.failure = None
    await store.write(["good"])
    assert influx.taken == ["good"]
    assert store.dropped == 1


async def test_a_missing_database_costs_no_points() -> None:
    influx = FakeInflux()
    store = store_on(influx)
    influx.failure = InfluxError("database not found")
    assert not await store.write(["first"])
    influx.failure = None
    assert await store.write(["second"])
    assert influx.taken == ["first", "second"]
    assert store.dropped == 0
