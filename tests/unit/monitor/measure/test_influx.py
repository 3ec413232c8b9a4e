"""InfluxDB's answers, as its releases write them."""

from __future__ import annotations

from services.monitor.measure.influx import memory_of, series_of


def test_series_are_read_whatever_the_column_is_called() -> None:
    assert series_of([{"cardinality estimation": 1234}]) == 1234
    assert series_of([{"count": 17}]) == 17
    assert series_of([]) is None


def test_memory_is_what_the_system_gave_and_has_not_got_back() -> None:
    runtime = {"Alloc": 5, "Sys": 900, "HeapReleased": 300, "HeapInUse": 7}
    assert memory_of([runtime]) == 600
    assert memory_of([{"Alloc": 5}]) is None
