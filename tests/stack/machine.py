"""A machine with the project in a folder of its own.

It runs not the demo, whose data goes with it, but the live stack, whose exchanges may be simulated.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, sleep

import redis

from scripts.stack import secret_files
from scripts.stack.compose import Container, Project, docker
from scripts.stack.evidence import Evidence
from services.core.labels import COMPOSE_PROJECT
from tests.integration.clones import clone_into
from tests.stack.conftest import BIND_ADDRESS
from tests.stack.host import ADDRESS, Host

EXCHANGES = "squeezeflow_simulator_data"
"""The volume of what happened on the simulated exchanges, which no loss of ours takes along."""


def until(
    condition: Callable[[], bool], within_s: float, what: Callable[[], object] = lambda: ""
) -> None:
    """Wait for it; a service that does not answer yet is waited for too."""
    deadline = monotonic() + within_s
    while True:
        try:
            if condition():
                return
            found = what()
        except (OSError, redis.RedisError) as error:
            found = error
        assert monotonic() < deadline, found
        sleep(2)


class Machine:
    """The clone at `root`, run by its own scripts with the settings of its own `.env`.

    `files`: Compose files over the first; with the demo's the exchanges are simulated. `host`: the
    computer it runs on, if not this one.
    """

    def __init__(
        self, root: Path, files: tuple[str, ...], host: Host | None = None, /, **settings: str
    ) -> None:
        self.root = clone_into(root)
        self._host = host
        self._address = ADDRESS if host else BIND_ADDRESS
        self.project = Project(root, False, {})
        compose = ":".join(("docker-compose.yml", *files))
        lines = {"COMPOSE_FILE": compose, "BIND_ADDRESS": self._address, **settings}
        (root / ".env").write_text("".join(f"{k}={v}\n" for k, v in lines.items()))

    def script(self, name: str, *arguments: str, ends_with: int = 0, told: bool = False) -> str:
        """Run a script as a user does; what it printed, or, if asked or as it ends with an error,
        what it told meanwhile."""
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "DOCKER_CONFIG")}
        inside = self._host.inside() if self._host else ()
        done = subprocess.run(
            [*inside, str(self.root / "scripts" / name), *arguments],
            cwd=self.root,
            env=kept,
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == ends_with, done.stderr
        return done.stderr if told or ends_with else done.stdout

    def evidence(self, **settings: str) -> Evidence:
        """What the stack that runs has to show; `settings` where it is not published."""
        return Evidence(
            {
                "REDIS_HOST": self._address,
                "INFLUX_HOST": self._address,
                "FREQTRADE_API_URL": f"http://{self._address}:8080",
                "EXCHANGE_GATEWAY": f"http://{self._address}:18090",
                **secret_files.file_settings(self.root / "secrets"),
                **settings,
            }
        )

    def containers(self) -> Mapping[str, Container]:
        """By service; of several replicas one."""
        return {container.service: container for container in self.project.containers()}

    def volumes(self) -> list[str]:
        """Those of the project, without the exchanges'."""
        return [volume for volume in self._volumes() if volume != EXCHANGES]

    def remove(self) -> None:
        """Leave nothing of it in the engine."""
        self.project.run("down", "--remove-orphans", timeout_s=180)
        # Also those that the files no longer name once the settings are lost.
        if left := self._volumes():
            docker("volume", "rm", *left)

    def _volumes(self) -> list[str]:
        label = f"label={COMPOSE_PROJECT}={self.project.name}"
        return docker("volume", "ls", "-q", "--filter", label).split()
