"""Figures of the Docker API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from services.monitor.containers import (
    Containers,
    cpu_percent,
    disk_bytes,
    memory_bytes,
    names_of,
    network_bytes,
    project_of,
    service_of,
)
from services.monitor.usage import SourceError

LABELS = {"com.docker.compose.project": "mine", "com.docker.compose.service": "redis"}
ID = "0123456789abcdef" * 4


def stats(total: int, system: int, cores: int = 4) -> dict[str, Any]:
    return {
        "cpu_stats": {
            "cpu_usage": {"total_usage": total},
            "system_cpu_usage": system,
            "online_cpus": cores,
        },
        "memory_stats": {"usage": 900, "stats": {"inactive_file": 300}, "limit": 1000},
        "networks": {"eth0": {"rx_bytes": 11, "tx_bytes": 12}},
        "blkio_stats": {"io_service_bytes_recursive": [entry("read", 13), entry("write", 14)]},
    }


def test_cpu_is_the_difference_of_two_samples_not_the_counter() -> None:
    # In one second the machine's four cores offered 4e9 ns; the container took 1.5e9 of them.
    before, now = stats(7_000_000_000, 50_000_000_000), stats(8_500_000_000, 54_000_000_000)
    assert cpu_percent(before, now) == pytest.approx(150.0)


def test_one_sample_tells_no_cpu() -> None:
    assert cpu_percent(None, stats(1, 2)) is None


def test_a_restarted_container_tells_no_cpu_until_the_next_sample() -> None:
    assert cpu_percent(stats(9_000, 10_000), stats(100, 20_000)) is None


def test_cores_are_counted_where_old_engines_do_not_name_them() -> None:
    before, now = stats(0, 0), stats(500, 1000)
    del now["cpu_stats"]["online_cpus"]
    now["cpu_stats"]["cpu_usage"]["percpu_usage"] = [300, 200]
    assert cpu_percent(before, now) == pytest.approx(100.0)


def test_memory_is_without_the_file_cache() -> None:
    assert memory_bytes(stats(0, 0)) == 600
    old = {"memory_stats": {"usage": 900, "stats": {"total_inactive_file": 100}}}
    assert memory_bytes(old) == 800
    assert memory_bytes({"memory_stats": {}}) is None


def test_services_are_named_as_in_the_compose_file() -> None:
    assert service_of(LABELS) == "redis"
    swarm = {"com.docker.stack.namespace": "sf", "com.docker.swarm.service.name": "sf_aggr-server"}
    assert service_of(swarm) == "aggr-server"


def test_the_own_container_tells_the_project() -> None:
    containers = [{"Id": ID, "Labels": LABELS}]
    assert project_of(containers, ID[:12]) == "mine"
    assert project_of(containers, "laptop") == "squeezeflow"


def entry(operation: str, value: int) -> dict[str, Any]:
    return {"major": 254, "minor": 0, "op": operation, "value": value}


def test_network_counts_every_interface() -> None:
    networks = {
        "eth0": {"rx_bytes": 5338, "tx_bytes": 648, "rx_packets": 36},
        "eth5": {"rx_bytes": 4641, "tx_bytes": 690, "rx_packets": 26},
    }
    assert network_bytes({"networks": networks}) == (9979, 1338)
    # network_mode: host or none
    assert network_bytes({}) == (None, None)


def test_disk_counts_every_device_in_both_kinds_of_cgroups() -> None:
    v2 = [entry("read", 100), entry("write", 20), entry("read", 3), entry("write", 4)]
    v1 = [entry("Read", 100), entry("Write", 20), entry("Sync", 7), entry("Async", 113),
          entry("Discard", 0), entry("Total", 120)]  # fmt: skip
    assert disk_bytes({"blkio_stats": {"io_service_bytes_recursive": v2}}) == (103, 24)
    assert disk_bytes({"blkio_stats": {"io_service_bytes_recursive": v1}}) == (100, 20)


def test_disk_that_nobody_counts_is_not_known() -> None:
    assert disk_bytes({"blkio_stats": {"io_service_bytes_recursive": None}}) == (None, None)
    assert disk_bytes({}) == (None, None)


def test_replicas_of_a_service_are_told_apart() -> None:
    number = "com.docker.compose.container-number"
    service = "com.docker.compose.service"
    labels = [{service: "strategy-runner", number: "1"}, {service: "redis", number: "1"},
              {service: "strategy-runner", number: "2"}]  # fmt: skip
    assert names_of(labels) == ["strategy-runner-1", "redis", "strategy-runner-2"]


class Engine(BaseHTTPRequestHandler):
    """The part of the Docker API that is read."""

    calls: ClassVar[list[str]] = []
    samples: ClassVar[int] = 0

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        Engine.calls.append(path)
        body = self._answer(path)
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, path: str) -> Any:
        if path.endswith("/version"):
            return {"ApiVersion": "1.41"}
        if path.endswith("/containers/json"):
            other = {"com.docker.compose.project": "other", "com.docker.compose.service": "db"}
            return [{"Id": ID, "Labels": LABELS}, {"Id": "f" * 64, "Labels": other}]
        if path.endswith("/stats"):
            Engine.samples += 1
            return stats(1_000 * Engine.samples, 4_000 * Engine.samples)
        return {
            "State": {"Status": "running", "Running": True, "Health": {"Status": "healthy"}},
            "RestartCount": 3,
            "HostConfig": {"Memory": 1000},
        }

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def engine() -> Iterator[str]:
    Engine.calls.clear()
    Engine.samples = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"tcp://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_only_the_containers_of_the_own_project_are_sampled(engine: str) -> None:
    source = Containers(engine, hostname=ID[:12])
    first = source.sample()
    second = source.sample()
    source.close()
    assert [usage.service for usage in first] == ["redis"]
    assert first[0].cpu_percent is None
    usage = second[0]
    assert usage.cpu_percent == pytest.approx(100.0)
    assert (usage.memory_bytes, usage.memory_limit_bytes) == (600, 1000)
    assert usage.memory_percent == 60.0
    assert (usage.network_received_bytes, usage.network_sent_bytes) == (11, 12)
    assert (usage.disk_read_bytes, usage.disk_written_bytes) == (13, 14)
    assert (usage.state, usage.health, usage.restarts) == ("running", "healthy", 3)
    assert not any("f" * 64 in call for call in Engine.calls)


def test_an_absent_engine_is_named() -> None:
    with pytest.raises(SourceError, match=r"Docker API at tcp://127\.0\.0\.1:1"):
        Containers("tcp://127.0.0.1:1").sample()
