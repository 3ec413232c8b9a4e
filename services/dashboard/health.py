"""The services as health-monitor sees them, and how long the strategy's stages take."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from services.dashboard.audience import Audience
from services.dashboard.protocol import Services, Spark
from services.monitor.states import Overview

STRATEGY = "strategy-runner"
KEPT = 120
EVERY_MS = 5_000


class ServiceList:
    """Fed with every overview, also while nobody looks, so that the curves are there at once."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._stages: dict[str, deque[tuple[float | None, float | None]]] = {}
        self._sampled_ms = 0
        self._newest: Overview | None = None

    def learn(self, overview: Overview) -> None:
        """The services were looked at."""
        self._newest = overview
        if overview.ts_ms - self._sampled_ms >= EVERY_MS - 500:
            self._sampled_ms = overview.ts_ms
            self._sample(overview)
        if self._audience.present.is_set():
            self.show()

    def show(self) -> None:
        """Tell the audience what is known."""
        if self._newest is None:
            return
        sparks = [
            Spark(stage, [median for median, _ in pairs], [p99 for _, p99 in pairs])
            for stage, pairs in self._stages.items()
        ]
        self._audience.show(
            Services(
                ts_ms=self._newest.ts_ms,
                status=self._newest.status,
                services=self._newest.services,
                sparks=sparks,
            )
        )

    def _sample(self, overview: Overview) -> None:
        runner = overview.services.get(STRATEGY)
        figures: Mapping[str, Any] = {} if runner is None else runner.figures
        stages = figures.get("stages_ms", {})
        measured = {**stages, "decide": figures.get("cycle_ms", {})} if figures else {}
        for stage in (*self._stages, *measured):
            if stage not in self._stages:
                self._stages[stage] = deque([(None, None)] * self._length, KEPT)
        for stage, pairs in self._stages.items():
            found = measured.get(stage) or {}
            pairs.append((found.get("median"), found.get("p99")))

    @property
    def _length(self) -> int:
        """Samples of the stages known so far; a new one has none of them."""
        return max((len(pairs) for pairs in self._stages.values()), default=0)
