"""A real supervisord with small programs, and the real servers with the rendered configuration."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import redis

from scripts.stack import debian, native, render
from scripts.stack.environment import MARK
from scripts.stack.layout import Layout
from scripts.stack.progress import Progress
from scripts.stack.render import Program
from scripts.stack.running import StackError
from scripts.stack.services import Step
from scripts.stack.settings import StackSettings
from scripts.stack.supervise import Supervisor, leftovers
from tests.integration.servers import free_port

ROOT = Path(__file__).resolve().parents[3]
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
REVIVER = [sys.executable, "-m", "scripts.stack.reviver"]


def _eventually(done: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.fixture
def layout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    found = Layout(tmp_path_factory.mktemp("s"), demo=False)
    found.prepare()
    yield found
    native.down(found.root)


def _launch(layout: Layout, programs: list[Program]) -> Supervisor:
    config = layout.run / "supervisord.conf"
    config.write_text(render.supervisord_conf(layout, programs, REVIVER))
    supervisor = Supervisor(layout)
    environ = {**os.environ, MARK: str(layout.root), "PYTHONPATH": f"{ROOT}:{ROOT}/aggr-server"}
    supervisor.launch(config, environ)
    return supervisor


def _start(supervisor: Supervisor, name: str) -> int:
    supervisor.start(name)
    _eventually(lambda: supervisor.processes()[name].state == "RUNNING")
    return supervisor.processes()[name].pid


def test_a_killed_program_comes_back(layout: Layout) -> None:
    supervisor = _launch(layout, [Program("sleeper", SLEEP, 10)])
    pid = _start(supervisor, "sleeper")
    os.kill(pid, signal.SIGKILL)
    _eventually(lambda: supervisor.processes()["sleeper"].pid not in (0, pid))


def test_down_ends_everything_and_may_be_repeated(layout: Layout) -> None:
    supervisor = _launch(layout, [Program("a", SLEEP, 10), Program("b", SLEEP, 20)])
    _start(supervisor, "a")
    _start(supervisor, "b")
    assert native.down(layout.root) >= 3
    assert leftovers(layout.root) == []
    assert not layout.run.exists()
    assert native.down(layout.root) == 0


def test_down_finds_what_a_killed_supervisor_left(layout: Layout) -> None:
    supervisor = _launch(layout, [Program("a", SLEEP, 10)])
    pid = _start(supervisor, "a")
    os.kill(int((layout.run / "supervisord.pid").read_text()), signal.SIGKILL)
    _eventually(lambda: not supervisor.alive())
    assert psutil.pid_exists(pid)
    native.down(layout.root)
    assert leftovers(layout.root) == []


def test_down_leaves_other_clones_alone(layout: Layout, tmp_path: Path) -> None:
    supervisor = _launch(layout, [Program("a", SLEEP, 10)])
    pid = _start(supervisor, "a")
    native.down(tmp_path)
    assert supervisor.processes()["a"].pid == pid


def test_children_of_a_program_end_with_it(layout: Layout) -> None:
    script = f"import subprocess; subprocess.run({SLEEP!r})"
    supervisor = _launch(layout, [Program("a", [sys.executable, "-c", script], 10)])
    pid = _start(supervisor, "a")
    _eventually(lambda: len(psutil.Process(pid).children()) == 1)
    child = psutil.Process(pid).children()[0]
    supervisor.stop(["a"], timeout_s=10)
    _eventually(lambda: not child.is_running())


ENDS = [sys.executable, "-c", "import time; time.sleep(1.5); raise SystemExit(2)"]
REFUSES = [sys.executable, "-c", "raise SystemExit(78)"]
AWAY = {"AGGR_SERVER_URL": "http://127.0.0.1:1", "FREQTRADE_API_URL": "http://127.0.0.1:1"}


def _ready(layout: Layout, *programs: Program, within_s: float = 1.0) -> list[str]:
    """Start them as a step of the stack; those it is up without."""
    stack = native.NativeStack(layout, AWAY, _launch(layout, [*programs]))
    step = Step(tuple(program.name for program in programs), within_s)
    return native._start(stack, step, Progress())


def test_a_live_stack_is_up_while_only_the_exchanges_are_away(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    collector, executor = Program("aggr-server", SLEEP, 10), Program("freqtrade", ENDS, 20)

    waiting = _ready(layout, collector, executor, within_s=6.0)

    assert sorted(waiting) == ["aggr-server", "freqtrade"]
    assert "aggr-server did not become ready" in capsys.readouterr().err


def test_what_no_exchange_can_mend_keeps_a_stack_from_starting(layout: Layout) -> None:
    with pytest.raises(StackError, match="health-monitor did not become ready"):
        _ready(layout, Program("health-monitor", SLEEP, 10))


def test_settings_that_are_refused_keep_a_stack_from_starting(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It ends so soon that supervisord does not tell its status.
    monkeypatch.setattr(native, "CRASHING_TIMEOUT_S", 2.0)
    with pytest.raises(StackError, match="freqtrade did not become ready"):
        _ready(layout, Program("freqtrade", REFUSES, 10), within_s=60.0)


def test_the_demo_has_its_exchanges_with_it(layout: Layout) -> None:
    demo = replace(layout, demo=True)
    with pytest.raises(StackError, match="aggr-server did not become ready"):
        _ready(demo, Program("aggr-server", SLEEP, 10))


def test_down_finds_the_redis_that_a_killed_supervisor_left(layout: Layout) -> None:
    settings = StackSettings(redis_port=free_port())
    installed = debian.find(ROOT / ".local")
    assert installed is not None
    conf = layout.run / "redis.conf"
    conf.write_text(render.redis_conf(layout, settings, "password"))
    supervisor = _launch(layout, [Program("redis", [installed.redis_server, str(conf)], 10)])
    pid = _start(supervisor, "redis")
    _eventually(lambda: MARK not in psutil.Process(pid).environ())
    os.kill(int((layout.run / "supervisord.pid").read_text()), signal.SIGKILL)
    _eventually(lambda: not supervisor.alive())
    native.down(layout.root)
    assert not psutil.pid_exists(pid)


def test_redis_and_influxdb_take_their_configuration(layout: Layout) -> None:
    settings = StackSettings(
        redis_port=free_port(),
        influx_port=free_port(),
        influx_rpc_port=free_port(),
        redis_maxmemory="64mb",
    )
    installed = debian.find(ROOT / ".local")
    assert installed is not None
    redis_conf, influxd_conf = layout.run / "redis.conf", layout.run / "influxd.conf"
    redis_conf.write_text(render.redis_conf(layout, settings, 'odd "password'))
    influxd_conf.write_text(render.influxd_conf(layout, settings, auth=True))
    supervisor = _launch(
        layout,
        [
            Program("redis", [installed.redis_server, str(redis_conf)], 10),
            Program("influx", [installed.influxd, "run", "-config", str(influxd_conf)], 10),
        ],
    )
    _start(supervisor, "redis")
    _start(supervisor, "influx")
    with redis.Redis(port=settings.redis_port, password='odd "password') as bus:
        config = bus.config_get("maxmemory*", "appendonly", "timeout", "tcp-keepalive", "bind")
    assert config == {
        **config,
        "maxmemory": str(64 * 1024 * 1024),
        "maxmemory-policy": "allkeys-lru",
        "appendonly": "yes",
        "timeout": "0",
        "tcp-keepalive": "60",
        "bind": "127.0.0.1",
    }
    with redis.Redis(port=settings.redis_port) as stranger, pytest.raises(redis.RedisError):
        stranger.ping()
    _eventually(lambda: (layout.data / "influx" / "meta").exists())
    listening = {
        connection.laddr
        for connection in psutil.Process(supervisor.processes()["influx"].pid).net_connections()
        if connection.status == "LISTEN"
    }
    assert listening == {
        ("127.0.0.1", settings.influx_port),
        ("127.0.0.1", settings.influx_rpc_port),
    }
