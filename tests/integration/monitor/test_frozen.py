"""Services that stand still: seen, told, and begun anew by the supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import pytest
from redis.asyncio import Redis

from scripts.stack.reviver import FROZEN_S
from services.core import names
from services.core.records import Alert
from services.monitor.processes import SupervisedProcesses
from services.monitor.readings import read
from tests.integration.monitor.support import prompt_rules, service_env
from tests.integration.servers import ROOT, free_port
from tests.waiting import eventually

FROZEN = "oi-tracker"
MODULES = {FROZEN: "services.oi_tracker", "system-monitor": "services.system_monitor"}


@dataclass(frozen=True)
class Stack:
    """supervisord on `socket`, its programs touching files in `alive`."""

    socket: Path
    alive: Path

    def process(self) -> psutil.Process:
        """The one that is frozen."""
        return psutil.Process(self.pid())

    def pid(self) -> int:
        infos = SupervisedProcesses(str(self.socket))._ask()
        return next(int(info["pid"]) for info in infos if info["name"] == FROZEN)

    def liveness(self) -> int:
        """Exit status of the container's health check."""
        return subprocess.run(
            [sys.executable, "-m", "services.core.liveness", FROZEN],
            env=service_env({}, self.alive),
            capture_output=True,
            check=False,
        ).returncode


StartStack = Callable[..., Stack]


@pytest.fixture
def start_stack(connection_env: dict[str, str], tmp_path: Path) -> Iterator[StartStack]:
    """Starts the two services under a real supervisord, with its reviver."""
    running: list[subprocess.Popen[bytes]] = []
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="sf") as folder:
        stack = Stack(Path(folder) / "s", tmp_path / "alive")
        stack.alive.mkdir()

        def start(frozen_s: float, **settings: str) -> Stack:
            environ = service_env(
                connection_env,
                stack.alive,
                MONITOR_INTERVAL_S="1",
                STACK_SERVICES=f"redis,{FROZEN}",
                SUPERVISOR_SOCKET=str(stack.socket),
                EXCHANGE_GATEWAY=f"http://127.0.0.1:{free_port()}",
                OI_EXCHANGES="BYBIT",
                AGGR_SYMBOLS="BTC",
                **settings,
            )
            config = tmp_path / "supervisord.conf"
            config.write_text(_config(stack, frozen_s, tmp_path))
            supervisord = str(Path(sys.executable).parent / "supervisord")
            running.append(subprocess.Popen([supervisord, "-c", str(config)], env=environ))
            return stack

        yield start
        for process in running:
            process.terminate()
            process.wait(30)


def _config(stack: Stack, frozen_s: float, folder: Path) -> str:
    reviver = f"-m scripts.stack.reviver --heartbeats {stack.alive} --frozen-s {frozen_s:g}"
    programs = "".join(
        f"[program:{name}]\ncommand={sys.executable} -m {module}\ndirectory={ROOT}\nstartsecs=0\n"
        f"redirect_stderr=true\nstdout_logfile={folder}/{name}.log\nautorestart=true\n"
        for name, module in MODULES.items()
    )
    return (
        f"[supervisord]\nnodaemon=true\nlogfile={folder}/log\npidfile={folder}/pid\n"
        f"{'user=root' if os.geteuid() == 0 else ''}\n[unix_http_server]\nfile={stack.socket}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[eventlistener:reviver]\ncommand={sys.executable} {reviver}\ndirectory={ROOT}\n"
        f"events=PROCESS_STATE_FATAL,TICK_5\nstderr_logfile={folder}/reviver.log\n{programs}"
    )


async def is_down(redis: Redis) -> float | None:
    """The reading of the frozen service; None while there is none."""
    found = {r.key: r.value for r in await read(redis)}
    return found.get(f"service_down:{FROZEN}")


async def told(redis: Redis, *, over: bool) -> bool:
    """Whether the operator was told that the service is down, or that this is over."""
    found = [msgspec.json.decode(a, type=Alert) for a in await redis.lrange(names.ALERTS, 0, -1)]
    about = [a for a in found if (a.code, a.subject) == ("service_down", FROZEN)]
    assert len(about) <= 2, "told more than once"
    return any(bool(alert.ended_level) == over for alert in about)


async def freeze(stack: Stack, redis: Redis) -> psutil.Process:
    """Wait until all is well, and stop the service's process in its tracks."""

    async def well() -> bool:
        return await is_down(redis) == 0.0

    await eventually(well, 60)
    process = stack.process()
    process.suspend()
    return process


@pytest.mark.alone
async def test_M1_a_frozen_service_is_unhealthy_and_told_and_its_return_too(
    start_stack: StartStack, redis: Redis, tmp_path: Path
) -> None:
    stack = start_stack(600.0, ALERT_RULES=str(prompt_rules(tmp_path)))
    process = await freeze(stack, redis)
    start = time.monotonic()
    await eventually(lambda: stack.liveness() == 1, 60)
    await eventually(lambda: told(redis, over=False), 90)
    assert time.monotonic() - start <= 60
    process.resume()
    await eventually(lambda: told(redis, over=True), 60)
    assert stack.pid() == process.pid


@pytest.mark.alone
@pytest.mark.slow
async def test_M1_by_the_shipped_rules_it_is_told_in_time_and_then_started_again(
    start_stack: StartStack, redis: Redis
) -> None:
    stack = start_stack(FROZEN_S)
    process = await freeze(stack, redis)
    start = time.monotonic()
    await eventually(lambda: is_down(redis), 60)
    assert time.monotonic() - start <= 60
    await eventually(lambda: told(redis, over=False), 90)
    assert time.monotonic() - start <= 90
    # Killed and begun anew, though it takes no other signal any more.
    await eventually(lambda: stack.pid() not in (0, process.pid), 120)
    await eventually(lambda: told(redis, over=True), 60)
    assert not process.is_running()
    assert stack.liveness() == 0
