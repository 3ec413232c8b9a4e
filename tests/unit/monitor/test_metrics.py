"""Metrics of figures that are missing, odd, or not understood."""

from __future__ import annotations

from typing import Any

import pytest

from services.core.records import Heartbeat
from services.monitor.facts import COUNTERS, Facts
from services.monitor.metrics import Metrics
from services.monitor.readings import Reading
from services.monitor.states import Overview, ServiceState, overview
from services.trading.stages import Stages


def looked(**figures: Any) -> Overview:
    strategy = ServiceState(state="up", age_ms=10, detail="turns", figures=figures)
    return overview({"strategy-runner": strategy}, 1_700_000_000_000)


def facts(**changes: Any) -> Facts:
    values: dict[str, Any] = {
        "ts_ms": 1_700_000_000_000,
        "counters": dict.fromkeys(COUNTERS, 0),
        "executor": None,
        "incidents": None,
        "readings": None,
        "interest": [],
    }
    return Facts(**{**values, **changes})


def samples(overview: Overview | None, facts: Facts | None = None) -> dict[str, float]:
    """Name with labels -> value, without those of the process itself."""
    metrics = Metrics()
    metrics.learn(overview, facts)
    lines = [line for line in metrics.text().decode().splitlines() if not line.startswith("#")]
    pairs = [line.rsplit(" ", 1) for line in lines if line.startswith("squeezeflow")]
    assert len({name for name, _ in pairs}) == len(pairs)
    return {name: float(value) for name, value in pairs}


def test_stages_as_the_strategy_measures_them_are_told_in_seconds() -> None:
    now = iter((10.0, 10.0, 10.003))
    stages = Stages(lambda: next(now))
    stages.arrived(2.0)
    stages.taken(1, 1)
    stages.decided()
    measured = stages.figures()
    found = samples(looked(stages_ms=measured, cycle_ms=measured["decide"]))
    assert found['squeezeflow_strategy_stage_median_seconds{stage="bus"}'] == 0.002
    assert found['squeezeflow_strategy_stage_p99_seconds{stage="decide"}'] == pytest.approx(0.003)


@pytest.mark.parametrize(
    "figures",
    [{}, {"lag_ms": None, "cycle_ms": {}}, {"states": ["BTCUSDT"]}, {"cycle_ms": {"median": "?"}}],
)
def test_figures_that_are_not_there_or_not_understood_are_left_out(figures: dict[str, Any]) -> None:
    found = samples(looked(**figures))
    assert found['squeezeflow_service_up{service="strategy-runner"}'] == 1
    assert not [name for name in found if "strategy_" in name]


def test_an_executor_that_tells_something_else_hides_nothing_but_itself() -> None:
    odd = Heartbeat(
        service="freqtrade", ts_ms=1, pid=1, cycle_ms=1.0, details={"open_trades": "many"}
    )
    found = samples(looked(), facts(executor=odd))
    assert found["squeezeflow_signals_published_total"] == 0
    assert "squeezeflow_trades_open" not in found


def test_two_readings_never_make_one_sample_twice() -> None:
    two = [Reading(name="host_cpu_percent", subject=name, value=50.0) for name in ("a", "b")]
    assert samples(None, facts(readings=two))["squeezeflow_host_cpu_ratio"] == 0.5


def test_incidents_are_told_only_while_somebody_looks_for_them() -> None:
    assert not [name for name in samples(None, facts()) if "incidents" in name]
    found = samples(None, facts(incidents={}))
    assert found['squeezeflow_incidents_open{severity="critical"}'] == 0
