"""Configuration files of the programs that are not ours: Redis, InfluxDB, supervisord."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.stack.layout import Layout
from scripts.stack.settings import StackSettings

# Nothing in this stack uses them; each would end it, or hand its data to another server.
# CONFIG is left: a backup asks it where the data lies.
FORBIDDEN = (
    "FLUSHALL",
    "FLUSHDB",
    "DEBUG",
    "SHUTDOWN",
    "REPLICAOF",
    "SLAVEOF",
    "MIGRATE",
    "MODULE",
)


def redis_conf(layout: Layout, settings: StackSettings, password: str) -> str:
    """Redis: append-only, bounded, loopback. `timeout 0`: idle pooled connections stay open."""
    lines = [
        "bind 127.0.0.1",
        f"port {settings.redis_port}",
        f'dir "{layout.data / "redis"}"',
        f"maxmemory {settings.redis_maxmemory}",
        f"maxmemory-policy {settings.redis_maxmemory_policy}",
        "appendonly yes",
        "appendfsync everysec",
        "save 900 1",
        "save 300 10",
        "save 60 10000",
        "timeout 0",
        "tcp-keepalive 60",
        "loglevel notice",
        "daemonize no",
        *(f'rename-command {command} ""' for command in FORBIDDEN),
    ]
    if password:
        escaped = password.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'requirepass "{escaped}"')
    return "\n".join(lines) + "\n"


def influxd_conf(layout: Layout, settings: StackSettings, *, auth: bool) -> str:
    """InfluxDB 1.6 to 1.8: disk-based index, bounded queries, loopback, no calls home."""
    data = layout.data / "influx"
    return f"""reporting-disabled = true
bind-address = "127.0.0.1:{settings.influx_rpc_port}"

[meta]
dir = "{data / "meta"}"

[data]
dir = "{data / "data"}"
wal-dir = "{data / "wal"}"
index-version = "tsi1"
query-log-enabled = false
max-series-per-database = 100000

[coordinator]
query-timeout = "60s"
max-concurrent-queries = 50
max-select-point = 100000000
max-select-series = 10000
log-queries-after = "10s"

[monitor]
store-enabled = false

[http]
bind-address = "127.0.0.1:{settings.influx_port}"
auth-enabled = {str(auth).lower()}
log-enabled = false

[continuous_queries]
log-enabled = false

[logging]
level = "warn"
"""


@dataclass(frozen=True, slots=True)
class Program:
    """A process for the supervisor. `priority`: started upwards, stopped downwards."""

    name: str
    command: Sequence[str]
    priority: int
    environ: Mapping[str, str] = field(default_factory=dict)
    one_shot: bool = False
    stop_wait_s: int = 15


def supervisord_conf(layout: Layout, programs: Sequence[Program], reviver: Sequence[str]) -> str:
    """Supervisor: Unix socket for its owner only, restarts without end, rotated logs.

    A program that ends too soon is started again after 1, 2, 3 ... seconds; after `startretries`
    of these supervisord would give up, and the reviver begins anew. It also ends what stands still.
    """
    run = layout.run
    parts = [
        "[supervisord]",
        f"logfile={_plain(layout.log / 'supervisord.log')}",
        "logfile_maxbytes=10MB",
        "logfile_backups=2",
        f"pidfile={_plain(run / 'supervisord.pid')}",
        f"childlogdir={_plain(layout.log)}",
        f"directory={_plain(layout.root)}",
        "identifier=squeezeflow",
        *(["user=root"] if os.geteuid() == 0 else []),
        "[unix_http_server]",
        f"file={_plain(layout.socket)}",
        "chmod=0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        "[eventlistener:reviver]",
        f"command={_command(reviver)}",
        "events=PROCESS_STATE_FATAL,TICK_5",
        f"stderr_logfile={_plain(layout.log / 'reviver.log')}",
    ]
    for program in programs:
        parts += _section(layout, program)
    return "\n".join(parts) + "\n"


def _section(layout: Layout, program: Program) -> list[str]:
    environ = ",".join(f'{k}="{_plain(v)}"' for k, v in program.environ.items())
    return [
        f"[program:{program.name}]",
        f"command={_command(program.command)}",
        f"directory={_plain(layout.root)}",
        *([f"environment={environ}"] if environ else []),
        f"priority={program.priority}",
        "autostart=false",
        f"autorestart={'false' if program.one_shot else 'true'}",
        f"startsecs={0 if program.one_shot else 2}",
        "startretries=20",
        "stopsignal=TERM",
        f"stopwaitsecs={program.stop_wait_s}",
        "stopasgroup=true",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_plain(layout.log / program.name)}.log",
        "stdout_logfile_maxbytes=10MB",
        "stdout_logfile_backups=5",
    ]


def _command(words: Sequence[str]) -> str:
    return _plain(shlex.join(words))


def _plain(value: str | Path) -> str:
    """Supervisord expands `%(name)s`."""
    return str(value).replace("%", "%%")
