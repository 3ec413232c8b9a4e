"""The services of the local stack: commands, order, and what each waits for."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from scripts.stack.debian import Programs
from scripts.stack.layout import Layout
from scripts.stack.ports import Need
from scripts.stack.render import Program
from scripts.stack.settings import StackSettings


@dataclass(frozen=True, slots=True)
class Step:
    """Services started together; the next step waits until all of them are ready."""

    services: tuple[str, ...]
    timeout_s: float


def steps(*, demo: bool, backup: bool = False) -> tuple[Step, ...]:
    """The order of the start; the end goes the other way.

    The simulated market opens once the collector has subscribed to it, so these two start together.
    """
    market = ("simulator", "aggr-server") if demo else ("aggr-server",)
    return (
        Step(("redis", "aggr-influx"), 60),
        Step(("influx-init",), 60),
        Step(market, 180),
        Step(("strategy-runner", "freqtrade", "oi-tracker"), 120),
        Step(("system-monitor", "health-monitor", *(("backup",) if backup else ())), 60),
    )


def programs(layout: Layout, installed: Programs, *, backup: bool = False) -> list[Program]:
    """Everything the supervisor runs."""
    python = sys.executable
    freqtrade_bin = layout.local / "freqtrade" / "bin"
    freqtrade_path = f"{freqtrade_bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    ours = {
        "aggr-server": "aggr_server",
        "strategy-runner": "services.strategy_runner",
        "oi-tracker": "services.oi_tracker",
        "system-monitor": "services.system_monitor",
        "health-monitor": "services.health_monitor",
    }
    if layout.demo:
        ours["simulator"] = "services.simulator"
    if backup:
        ours["backup"] = "scripts.backup.service"
    return [
        Program("redis", [installed.redis_server, str(layout.run / "redis.conf")], 10),
        Program(
            "aggr-influx",
            influxd(layout, installed),
            10,
            stop_wait_s=30,
        ),
        Program("influx-init", [python, "-m", "services.influx_init"], 20, one_shot=True),
        *(Program(name, [python, "-m", module], 30) for name, module in ours.items()),
        Program(
            "freqtrade",
            [str(layout.root / "freqtrade" / "start.sh")],
            40,
            {"PATH": freqtrade_path},
        ),
    ]


def influxd(layout: Layout, installed: Programs) -> list[str]:
    """The command that starts InfluxDB with what `render.influxd_conf` says."""
    start = layout.root / "docker" / "influx-start.sh"
    config = layout.run / "influxd.conf"
    wal = layout.data / "influx" / "wal"
    return [str(start), str(wal), installed.influxd, "run", "-config", str(config)]


def ports(settings: StackSettings, *, demo: bool) -> list[Need]:
    """Where the services will listen."""
    loopback, bind = "127.0.0.1", settings.bind_address
    needs = [
        Need("redis", loopback, settings.redis_port, "REDIS_PORT"),
        Need("aggr-influx", loopback, settings.influx_port, "INFLUX_PORT"),
        Need("aggr-influx (backups)", loopback, settings.influx_rpc_port, "INFLUX_RPC_PORT"),
        Need("aggr-server", bind, settings.port, "PORT"),
        Need("freqtrade", bind, settings.freqtrade_port, "FREQTRADE_PORT"),
        Need("health-monitor", bind, settings.health_port, "HEALTH_PORT"),
    ]
    if demo:
        needs.append(Need("simulator", bind, settings.simulator_port, "SIMULATOR_PORT"))
    return needs
