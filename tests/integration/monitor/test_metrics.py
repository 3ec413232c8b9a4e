"""What health-monitor tells Prometheus, read with Prometheus' own parser from a real process."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from aggr_server.shards import Shard
from services.core import names
from services.monitor.metrics import StrategyFigures
from tests.integration.aggr_server.process import MARKET, SYMBOL, CollectorProcess, now_s
from tests.integration.aggr_server.venue import Venue
from tests.integration.monitor.support import service_env
from tests.integration.monitor.told import STRATEGY, tell_everything, tell_open_interest
from tests.integration.servers import ROOT, RedisServer, free_port
from tests.integration.trading.harness import live

SERVICES = "redis,aggr-influx,strategy-runner,oi-tracker,health-monitor"
SCRAPED = ROOT / "docker" / "prometheus" / "prometheus.yml"
RULES = ROOT / "docker" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "docker" / "grafana" / "dashboard.json"
OF_PROMETHEUS = {"up"}
LOOKED = "squeezeflow_last_look_timestamp_seconds"

Samples = dict[str, dict[tuple[str, ...], float]]
"""Metric -> values of its labels, in the order of their names -> value."""


class Monitor:
    """A running health-monitor, asked over HTTP."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    async def get(self, path: str) -> tuple[int, str]:
        """Status, 0 without an answer, and text."""
        try:
            async with self._http.get(self._url + path) as response:
                return response.status, await response.text()
        except aiohttp.ClientError as error:
            return 0, str(error)

    async def samples(self) -> Samples:
        """What Prometheus would store; every metric must say what it is."""
        status, text = await self.get("/metrics")
        assert status == 200, text
        return parsed(text)

    async def samples_with(self, metric: str) -> Samples:
        """The same as soon as `metric` is among them."""
        async with asyncio.timeout(30):
            while True:
                status, text = await self.get("/metrics")
                if status == 200 and metric in (found := parsed(text)):
                    return found
                await asyncio.sleep(0.2)

    async def looked(self, times: int = 1) -> Samples:
        """The same after so many further looks at everything."""
        seen = await self.samples()
        for _ in range(times):
            before = seen[LOOKED]
            async with asyncio.timeout(30):
                while True:
                    seen = await self.samples()
                    if seen.get(LOOKED, before) != before:
                        break
                    await asyncio.sleep(0.2)
        return seen


def parsed(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type != "unknown", family.name
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), sample
            found[sample.name][labels] = sample.value
    return found


@pytest.fixture
async def monitor(
    connection_env: dict[str, str], redis: Redis, tmp_path: Path
) -> AsyncIterator[Monitor]:
    """Started when everything there is has been told."""
    await tell_everything(redis)
    port = free_port()
    environ = service_env(connection_env, tmp_path, HEALTH_PORT=str(port), STACK_SERVICES=SERVICES)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.health_monitor", env=environ
    )
    try:
        async with aiohttp.ClientSession() as http:
            yield Monitor(f"http://127.0.0.1:{port}", http)
    finally:
        process.terminate()
        await process.wait()


async def test_services_strategy_and_trades_are_told_in_base_units(
    monitor: Monitor,
) -> None:
    seen = await monitor.samples_with(LOOKED)
    assert seen["squeezeflow_service_up"]["redis",] == 1
    assert seen["squeezeflow_service_up"]["oi-tracker",] == 0
    assert seen["squeezeflow_healthy"][()] == 0
    assert ("oi-tracker",) not in seen["squeezeflow_service_age_seconds"]
    assert seen["squeezeflow_service_cycle_seconds"]["strategy-runner",] == 0.0015
    assert 0 < seen["squeezeflow_service_answer_seconds"]["redis",] < 4
    assert seen["squeezeflow_redis_used_memory_bytes"][()] > 100_000
    assert "squeezeflow_redis_max_memory_bytes" not in seen
    assert seen["squeezeflow_strategy_stage_median_seconds"]["bus",] == 0.00125
    assert seen["squeezeflow_strategy_stage_p99_seconds"]["decide",] == 0.0075
    assert seen["squeezeflow_strategy_state"] == {
        ("WATCHING", "BTCUSDT"): 1,
        ("RESET", "ETHUSDT"): 1,
    }
    assert seen["squeezeflow_strategy_coverage_ratio"]["BTCUSDT",] == 0.97
    assert seen["squeezeflow_strategy_lag_seconds"][()] == 0.25
    assert seen["squeezeflow_strategy_warm"][()] == 0
    assert seen["squeezeflow_strategy_replicas"][()] == 2
    assert seen["squeezeflow_strategy_late_bars_total"][()] == 3
    assert seen["squeezeflow_signals_published_total"][()] == 7
    assert seen["squeezeflow_signals_executed_total"][()] == 0
    assert seen["squeezeflow_signals_rejected_total"]["RISK_LIMIT",] == 2
    assert seen["squeezeflow_trades_open"][()] == 2
    assert seen["squeezeflow_trades_real_money"][()] == 0
    assert seen["squeezeflow_incidents_open"] == {("critical",): 1, ("warning",): 0, ("info",): 0}
    assert seen["squeezeflow_open_interest_usd"] == {
        ("BTC", "BINANCE_FUTURES"): 3e5,
        ("BTC", "BYBIT"): 1e5,
    }
    assert seen["squeezeflow_open_interest_total_usd"]["BTC",] == 4e5
    assert seen["process_resident_memory_bytes"][()] > 1e6


async def test_readings_are_told_in_base_units_and_markets_only_counted(
    monitor: Monitor,
) -> None:
    seen = await monitor.samples_with(LOOKED)
    assert seen["squeezeflow_disk_used_ratio"] == {("/",): 0.42, ("/data",): 0.43}
    assert seen["squeezeflow_clock_offset_seconds"][()] == pytest.approx(0.042)
    assert seen["squeezeflow_backup_age_seconds"]["here",] == 42 * 3600
    assert seen["squeezeflow_redis_evicted_keys_per_second"][()] == pytest.approx(0.7)
    assert seen["squeezeflow_gaps_open"][()] == 2
    assert seen["squeezeflow_gap_open_max_seconds"][()] == 90
    assert not [labels for metric in seen.values() for labels in metric if MARKET in labels]


async def test_what_is_not_known_is_absent(monitor: Monitor, redis: Redis) -> None:
    await monitor.samples_with(LOOKED)
    await redis.delete(names.heartbeat("system-monitor"), names.heartbeat("freqtrade"))
    await redis.delete(names.heartbeat("strategy-runner"))
    await tell_open_interest(redis, missing=("OKEX",))
    # One may have been under way.
    seen = await monitor.looked(times=2)
    assert "squeezeflow_incidents_open" not in seen
    assert "squeezeflow_trades_open" not in seen
    assert "squeezeflow_disk_used_ratio" not in seen
    assert "squeezeflow_strategy_lag_seconds" not in seen
    assert seen["squeezeflow_open_interest_missing"]["BTC",] == 1
    assert "squeezeflow_open_interest_total_usd" not in seen
    assert seen["squeezeflow_service_up"]["strategy-runner",] == 0


async def test_one_service_is_asked_for_apart(monitor: Monitor) -> None:
    await monitor.samples_with(LOOKED)
    status, text = await monitor.get("/health/strategy-runner")
    assert (status, json.loads(text)["state"]) == (200, "up")
    status, text = await monitor.get("/health/oi-tracker")
    assert (status, json.loads(text)["state"]) == (503, "down")
    assert "no heartbeat" in json.loads(text)["detail"]
    status, text = await monitor.get("/health/strategy_runner")
    assert status == 404
    assert "there are redis, aggr-influx" in json.loads(text)["reason"]


async def test_M1_a_frozen_redis_is_unhealthy_and_what_comes_from_it_unknown(
    own_redis: RedisServer, connection_env: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    environ = service_env(
        {**connection_env, "REDIS_PORT": str(own_redis.port)},
        tmp_path,
        HEALTH_PORT=str(port),
        STACK_SERVICES=SERVICES,
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.health_monitor", env=environ
    )
    try:
        async with aiohttp.ClientSession() as http:
            asked = Monitor(f"http://127.0.0.1:{port}", http)
            await asked.samples_with("squeezeflow_signals_published_total")
            own_redis.pause()
            seen = await asked.looked(times=2)
            assert "squeezeflow_signals_published_total" not in seen
            assert seen["squeezeflow_service_up"]["redis",] == 0
            assert seen["squeezeflow_service_up"]["aggr-influx",] == 1
            status, text = await asked.get("/health")
            assert (status, json.loads(text)["services"]["redis"]["state"]) == (503, "down")
    finally:
        own_redis.resume()
        process.terminate()
        await process.wait()


async def test_what_the_strategy_really_tells_is_understood(
    connections: Connections, influx: InfluxClient, tmp_path: Path
) -> None:
    async with live(connections, influx, tmp_path, 1_000, "S6") as runner:
        await runner.play(1_001, 1_003)
        told = runner.app.cycle._details()
    assert STRATEGY.keys() - {"replicas"} <= told.keys()
    figures = msgspec.convert(told, StrategyFigures)
    assert figures.states.keys() == figures.coverage.keys() == {"BTCUSDT"}
    assert figures.cycle_ms["p99"] >= figures.cycle_ms["median"] > 0
    assert {"bus", "assemble"} <= figures.stages_ms.keys()
    assert figures.late_bars == 0


@pytest.fixture
async def of_collector(
    tmp_path: Path, connection_env: dict[str, str], redis: Redis
) -> AsyncIterator[str]:
    """Text of a real collector's `/metrics`, after a trade. It is the only one of two shards."""
    shard = next(Shard(i, 2) for i in (1, 2) if Shard(i, 2).holds(MARKET))
    async with Venue(SYMBOL).running() as venue, aiohttp.ClientSession() as http:
        env = {**connection_env, "AGGR_SHARD": f"{shard.index}/2"}
        collector = CollectorProcess(venue, tmp_path, env)
        collector.start()
        try:
            async with asyncio.timeout(60):
                while True:
                    await venue.trade(SYMBOL, now_s() * 1000, 100.0, 2.0, True)
                    text = await _metrics(http, collector.url)
                    if 'aggr_trades_total{exchange="BINANCE"' in text and not re.search(
                        r"^aggr_bar_latency_seconds_count 0", text, re.MULTILINE
                    ):
                        break
                    await asyncio.sleep(0.2)
            beat = await redis.get(names.heartbeat(shard.named("aggr-server")))
            assert beat is not None
            assert json.loads(beat)["details"]["shards"] == 2
            yield text
        finally:
            collector.kill()


async def _metrics(http: aiohttp.ClientSession, url: str) -> str:
    try:
        async with http.get(f"{url}/metrics") as response:
            return await response.text()
    except aiohttp.ClientError:
        return ""


async def test_dashboard_and_alerts_ask_for_metrics_that_there_are(
    monitor: Monitor, redis: Redis, of_collector: str
) -> None:
    asked = {name: where for where, expr in expressions() for name in metrics_in(expr)}
    assert len(asked) > 40
    await tell_everything(redis)
    # The limit is one that the test's Redis does not have.
    known = parsed(of_collector).keys() | OF_PROMETHEUS | {"squeezeflow_redis_max_memory_bytes"}
    known |= (await monitor.looked(times=2)).keys()
    assert not {name: where for name, where in asked.items() if name not in known}


def test_dashboard_is_one_that_grafana_takes() -> None:
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert document["schemaVersion"] == 39
    (variable,) = document["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert all(target["refId"] and target["expr"] for target in panel["targets"])


def test_scrape_list_leads_to_the_services_ports() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    document = yaml.safe_load(SCRAPED.read_text(encoding="utf-8"))
    targets = {
        config["job_name"]: config["static_configs"][0]["targets"]
        for config in document["scrape_configs"]
    }
    assert targets == {
        "aggr-server": ["aggr-server:3000"],
        "health-monitor": ["health-monitor:8090"],
    }
    assert ":-3000}:3000" in compose
    assert ":-8090}:8090" in compose
    assert [(SCRAPED.parent / name).is_file() for name in document["rule_files"]] == [True]


def expressions() -> list[tuple[str, str]]:
    """Where it stands, and the expression."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    found = [(p["title"], t["expr"]) for p in panels for t in p.get("targets", [])]
    groups: list[dict[str, Any]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return found + [(rule["alert"], rule["expr"]) for g in groups for rule in g["rules"]]


def metrics_in(expression: str) -> set[str]:
    """Names that are neither functions, keywords, labels nor their values."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on)\s*\([^)]*\)", " ", expression)
    words = re.findall(r"[a-z_][a-z0-9_]*(?!\w)(?!\s*\()", bare)
    return set(words) - {"or", "and", "sum", "max", "min", "histogram_quantile"}
