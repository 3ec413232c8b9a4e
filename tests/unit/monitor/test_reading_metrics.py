"""Readings as Prometheus metrics: none forgotten, each in the base unit its name says."""

from __future__ import annotations

import re

import pytest

from services.monitor.measure.catalog import READINGS
from services.monitor.reading_metrics import COUNTED, ELSEWHERE, SHOWN, families
from services.monitor.readings import Reading

SCALES = {"percent": 0.01, "ms": 0.001, "h": 3600.0, "1/min": 1 / 60}
SUFFIXES = {
    "percent": "_ratio",
    "ms": "_seconds",
    "h": "_seconds",
    "s": "_seconds",
    "1/min": "_per_second",
    "bytes": "_bytes",
}


def test_every_reading_is_shown_once() -> None:
    assert SHOWN.keys() | COUNTED | ELSEWHERE == READINGS.keys()
    assert not SHOWN.keys() & (COUNTED | ELSEWHERE)
    assert len({shown.metric for shown in SHOWN.values()}) == len(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_values_are_in_the_base_unit_that_the_name_says(name: str) -> None:
    shown, unit = SHOWN[name], READINGS[name].unit
    assert shown.scale == SCALES.get(unit, 1.0)
    assert shown.metric.endswith(SUFFIXES.get(unit, ""))
    assert re.fullmatch(r"[a-z][a-z_0-9]*", shown.metric)
    assert shown.text.endswith(".")


def test_a_reading_nobody_knows_is_left_out() -> None:
    assert not list(families([Reading(name="moon_phase", subject="moon", value=1.0)]))
    assert not list(families([]))
