"""Services, and the curves of the strategy's stages."""

from __future__ import annotations

from typing import Any

from services.dashboard.audience import Audience
from services.dashboard.health import KEPT, ServiceList
from services.dashboard.protocol import Services
from services.monitor.states import ServiceState, overview


def figures(decide: float | None, **stages: float) -> dict[str, Any]:
    of = {name: {"median": value, "p99": 2 * value} for name, value in stages.items()}
    cycle = {} if decide is None else {"median": decide, "p99": 2 * decide}
    return {"cycle_ms": cycle, "stages_ms": of}


class Told(Audience):
    def __init__(self) -> None:
        super().__init__()
        self.present.set()
        self.newest: Services | None = None

    def show(self, message: Any) -> None:
        self.newest = message

    def sparks(self) -> dict[str, tuple[list[float | None], list[float | None]]]:
        assert self.newest is not None
        return {spark.stage: (spark.median, spark.p99) for spark in self.newest.sparks}


def learn(services: ServiceList, second: int, given: dict[str, Any] | None) -> None:
    states = {}
    if given is not None:
        states["strategy-runner"] = ServiceState(state="up", age_ms=0, detail="", figures=given)
    services.learn(overview(states, second * 1000))


def test_a_sample_is_taken_every_five_seconds() -> None:
    told = Told()
    services = ServiceList(told)
    for second in (0, 2, 4, 6, 8, 10, 12):
        learn(services, 100 + second, figures(float(second)))

    assert told.sparks() == {"decide": ([0.0, 6.0, 12.0], [0.0, 12.0, 24.0])}


def test_what_was_not_measured_is_not_known_and_keeps_the_curves_aligned() -> None:
    told = Told()
    services = ServiceList(told)
    learn(services, 100, figures(1.0))
    learn(services, 105, None)
    learn(services, 110, figures(None, bus=3.0))

    assert told.sparks() == {
        "decide": ([1.0, None, None], [2.0, None, None]),
        "bus": ([None, None, 3.0], [None, None, 6.0]),
    }


def test_the_curves_are_bounded() -> None:
    told = Told()
    services = ServiceList(told)
    for i in range(KEPT + 5):
        learn(services, 100 + 5 * i, figures(float(i)))

    assert told.sparks()["decide"][0] == [float(i) for i in range(5, KEPT + 5)]


def test_while_nobody_looks_samples_are_taken_and_nothing_is_sent() -> None:
    told = Told()
    told.present.clear()
    services = ServiceList(told)
    learn(services, 100, figures(1.0))
    assert told.newest is None

    services.show()
    assert told.sparks()["decide"] == ([1.0], [2.0])
