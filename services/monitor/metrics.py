"""What health-monitor has seen, for Prometheus. What is not known is left out, never zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from logging import getLogger
from typing import Any, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aggr_server.log import kv
from aggr_server.throttle import Occasionally
from services.core.records import Heartbeat, OpenInterestTotal
from services.monitor import reading_metrics
from services.monitor.facts import Facts
from services.monitor.states import Overview

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STRATEGY = "strategy-runner"

_COUNTED = {
    "signals_published": ("signals_published", "Entries and exits published."),
    "signals_executed": ("signals_executed", "Signals that freqtrade turned into a trade."),
    "signals_expired": ("signals_expired", "Signals that nobody executed in time."),
    "errors": ("strategy_errors", "Seconds of a symbol whose evaluation failed."),
    "cycles": ("strategy_cycles", "Decision cycles."),
}
_REJECTED = "signals_rejected:"

T = TypeVar("T")
_log = getLogger(__name__)
_complain = Occasionally(60.0)


Spread = dict[str, float]


class StrategyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of strategy-runner's heartbeat; what it does not tell is left out."""

    states: dict[str, str] = {}
    coverage: dict[str, float] = {}
    stages_ms: dict[str, Spread] = {}
    cycle_ms: Spread = {}
    processed_after_ms: Spread = {}
    warm: bool | None = None
    entries_allowed: bool | None = None
    lag_ms: float | None = None
    late_bars: int | None = None
    lost_bars: int | None = None
    replicas: dict[str, list[str]] | None = None


class ExecutorFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The same of freqtrade's."""

    open_trades: int | None = None
    dry_run: bool | None = None
    halted: bool | None = None


class Metrics:
    """The newest look as text; rendered once however many ask."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._seen = _Seen()
        self._registry.register(self._seen)
        ProcessCollector(registry=self._registry)
        self._text: bytes | None = None

    def learn(self, overview: Overview | None, facts: Facts | None) -> None:
        """Show these from now on; None: not known."""
        self._seen.overview, self._seen.facts = overview, facts
        self._text = None

    def text(self) -> bytes:
        """The exposition format of Prometheus."""
        if self._text is None:
            self._text = generate_latest(self._registry)
        return self._text


class _Seen(Collector):
    def __init__(self) -> None:
        self.overview: Overview | None = None
        self.facts: Facts | None = None

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is changes with what is known."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        if self.overview is not None:
            yield from _services(self.overview)
        if self.facts is not None:
            yield from _counters(self.facts.counters)
            yield from _executor(self.facts.executor)
            yield from _interest(self.facts)
            yield from _incidents(self.facts)
            yield from reading_metrics.families(self.facts.readings or [])


def _figures(service: str, told: Mapping[str, Any], kind: type[T]) -> T | None:
    """None, and a line in the log, for what cannot be understood."""
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as error:
        if _complain(service):
            _log.warning("figures not understood %s", kv(service=service, error=error))
        return None


def _gauge(name: str, text: str, *labels: str, value: float | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"squeezeflow_{name}", text, labels=labels or None, value=value)


def _services(overview: Overview) -> Iterator[Metric]:
    healthy = overview.status == "healthy"
    yield _gauge("healthy", "1 while every service is up and complete.", value=healthy)
    yield _gauge(
        "last_look_timestamp_seconds",
        "When every service was looked at last, Unix time.",
        value=overview.ts_ms / 1000,
    )
    up = _gauge("service_up", "1 while the service works, if need be degraded.", "service")
    degraded = _gauge("service_degraded", "1 while it works, but not fully.", "service")
    age = _gauge("service_age_seconds", "Age of the newest proof of work at that look.", "service")
    cycle = _gauge("service_cycle_seconds", "Duration of the last turn of its loop.", "service")
    answer = _gauge("service_answer_seconds", "How long its answer took.", "service")
    for name, service in overview.services.items():
        up.add_metric([name], service.state != "down")
        degraded.add_metric([name], service.state == "degraded")
        for family, value_ms in (
            (age, service.age_ms),
            (cycle, service.cycle_ms),
            (answer, service.answer_ms),
        ):
            if value_ms is not None:
                family.add_metric([name], value_ms / 1000)
    yield from (up, degraded, age, cycle, answer)
    if strategy := overview.services.get(STRATEGY):
        told = _figures(STRATEGY, strategy.figures, StrategyFigures)
        yield from _strategy(told or StrategyFigures())
    if redis := overview.services.get("redis"):
        yield from _redis(redis.figures)


def _strategy(figures: StrategyFigures) -> Iterator[Metric]:
    yield from _stages(figures)
    state = _gauge("strategy_state", "1 for the state a symbol is in.", "symbol", "state")
    for symbol, name in figures.states.items():
        state.add_metric([symbol, name], 1)
    yield state
    coverage = _gauge(
        "strategy_coverage_ratio", "Volume of the markets alive, of all that count.", "symbol"
    )
    for symbol, share in figures.coverage.items():
        coverage.add_metric([symbol], share)
    yield coverage
    for name, text, value in (
        ("strategy_warm", "1 while every symbol may decide.", figures.warm),
        ("strategy_entries_allowed", "1 while nothing blocks entries.", figures.entries_allowed),
    ):
        if value is not None:
            yield _gauge(name, text, value=value)
    if figures.lag_ms is not None:
        lag_s = figures.lag_ms / 1000
        yield _gauge(
            "strategy_lag_seconds", "From the end of the last decided second.", value=lag_s
        )
    for name, text, count in (
        ("late_bars", "Bars that came after their second was decided.", figures.late_bars),
        ("lost_bars", "Bars that never came.", figures.lost_bars),
    ):
        if count is not None:
            yield CounterMetricFamily(f"squeezeflow_strategy_{name}", text, count)
    if figures.replicas is not None:
        replicas = len(figures.replicas)
        yield _gauge("strategy_replicas", "Replicas that show a sign of life.", value=replicas)


def _stages(figures: StrategyFigures) -> Iterator[Metric]:
    stages = {
        **figures.stages_ms,
        "decide": figures.cycle_ms,
        "processed_after": figures.processed_after_ms,
    }
    for key, text in (("median", "Median"), ("p99", "99th percentile")):
        family = _gauge(
            f"strategy_stage_{key}_seconds",
            f"{text} of a part of a second's way over the last ten minutes.",
            "stage",
        )
        for stage, spread in sorted(stages.items()):
            if key in spread:
                family.add_metric([stage], spread[key] / 1000)
        yield family


def _redis(figures: Mapping[str, Any]) -> Iterator[Metric]:
    if "used_memory" in figures:
        used = figures["used_memory"]
        yield _gauge("redis_used_memory_bytes", "Memory of Redis' data.", value=used)
    if figures.get("maxmemory"):
        limit = figures["maxmemory"]
        yield _gauge("redis_max_memory_bytes", "From here on keys are thrown out.", value=limit)


def _counters(counters: Mapping[str, int]) -> Iterator[Metric]:
    for key, (name, text) in _COUNTED.items():
        yield CounterMetricFamily(f"squeezeflow_{name}", text, counters[key])
    rejected = CounterMetricFamily(
        "squeezeflow_signals_rejected", "Set-ups that were not published.", labels=["reason"]
    )
    for key, count in counters.items():
        if key.startswith(_REJECTED):
            rejected.add_metric([key.removeprefix(_REJECTED)], count)
    yield rejected


def _executor(beat: Heartbeat | None) -> Iterator[Metric]:
    details = None if beat is None else _figures("freqtrade", beat.details, ExecutorFigures)
    if details is None:
        return
    open_trades, dry_run, halted = details.open_trades, details.dry_run, details.halted
    if open_trades is not None:
        yield _gauge("trades_open", "Trades that freqtrade has open.", value=open_trades)
    if dry_run is not None:
        yield _gauge("trades_real_money", "1 if trades are with real money.", value=not dry_run)
    if halted is not None:
        yield _gauge("entries_halted", "1 while freqtrade keeps to the kill switch.", value=halted)


def _interest(facts: Facts) -> Iterator[Metric]:
    labels = ("base", "exchange")
    usd = _gauge("open_interest_usd", "One-sided, in US dollars.", *labels)
    coins = _gauge("open_interest_coins", "One-sided, in base coins.", *labels)
    age = _gauge("open_interest_age_seconds", "Age of the exchange's value.", *labels)
    total = _gauge("open_interest_total_usd", "Over all exchanges; only while complete.", "base")
    missing = _gauge("open_interest_missing", "Exchanges that lack a usable value.", "base")
    for record in facts.interest:
        _add_total(record, total, missing)
        for share in record.venues:
            values = [record.base, share.exchange]
            usd.add_metric(values, share.usd)
            coins.add_metric(values, share.coins)
            age.add_metric(values, max(0.0, (facts.ts_ms - share.ts_ms) / 1000))
    yield from (usd, coins, age, total, missing)


def _add_total(
    record: OpenInterestTotal, total: GaugeMetricFamily, missing: GaugeMetricFamily
) -> None:
    missing.add_metric([record.base], len(record.missing))
    if not record.missing:
        total.add_metric([record.base], record.usd)


def _incidents(facts: Facts) -> Iterator[Metric]:
    if facts.incidents is None:
        return
    levels = [alert.level for alert in facts.incidents.values()]
    family = _gauge("incidents_open", "Incidents that are open.", "severity")
    for level in ("critical", "warning", "info"):
        family.add_metric([level], levels.count(level))
    yield family
