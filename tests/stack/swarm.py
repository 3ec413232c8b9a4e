"""Stacks on a Swarm of one node, deployed, looked at and broken from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

from scripts.stack import images, secret_files
from scripts.stack.compose import Project, docker
from scripts.stack.containers import SOCKET
from scripts.stack.progress import Progress
from scripts.stack.running import StackError
from services.core.labels import STACK_NAMESPACE, SWARM_SERVICE
from tests.stack.conftest import ROOT, run_script

ONE_SHOT = {"volume-init", "influx-init"}
CHECKER = "checker"
"""Service that has the sources and reaches what the others do; see `tests.stack.inside`."""


@contextmanager
def single_node() -> Iterator[None]:
    """Swarm mode of this engine, ended afterwards."""
    # Two stacks at once would only be slow.
    run_script("down.sh")
    secret_files.ensure(ROOT / "secrets")
    images.ensure(Project(ROOT, True, {}), Progress())
    assert docker("info", "-f", "{{.Swarm.LocalNodeState}}").strip() == "inactive"
    docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    try:
        node = docker("node", "ls", "-q").strip()
        docker("node", "update", "--label-add", "role=compute", node)
        yield
    finally:
        docker("swarm", "leave", "--force")


@dataclass(frozen=True, slots=True)
class SwarmStack:
    """A stack of its own name, with volumes of its own. `files`: below the folder of the sources;
    `wanted`: replicas of the services that have other than one; `environ`: what the files ask for.
    """

    name: str
    files: tuple[str, ...]
    wanted: Mapping[str, int] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def deployed(self) -> Iterator[None]:
        """Up, and afterwards gone with its data."""
        try:
            self.deploy()
            yield
        finally:
            self.remove()
            self.forget()

    def deploy(self) -> None:
        subprocess.run(
            ["docker", "stack", "deploy", "--resolve-image", "never"]
            + [part for file in self.files for part in ("-c", file)]
            + [self.name],
            cwd=ROOT,
            env={**os.environ, "DOCKER_GID": str(SOCKET.stat().st_gid), **self.environ},
            capture_output=True,
            check=True,
        )

    def remove(self) -> None:
        """As an operator does; the data stays."""
        docker("stack", "rm", self.name)
        self.wait(lambda: not self.containers(), 120)

    def forget(self) -> None:
        """Remove the volumes, and the containers which the engine has forgotten to remove."""
        self.wait(self._is_cleared, 60)
        if volumes := self.volumes():
            docker("volume", "rm", *volumes)

    def _is_cleared(self) -> bool:
        left = docker("ps", "-aq", "--filter", self._label()).split()
        if not left:
            return True
        # Of some the removal is already in progress.
        with suppress(StackError):
            docker("rm", "--force", "--volumes", *left)
        return False

    def volumes(self) -> list[str]:
        return docker("volume", "ls", "-q", "--filter", f"name=^{self.name}_").split()

    def containers(self, service: str = "") -> list[str]:
        """Of all services or one, running."""
        return docker("ps", "-q", "--no-trunc", "--filter", self._label(service)).split()

    def container(self, service: str) -> str:
        return self.containers(service)[0]

    def services(self) -> set[str]:
        """Those that are to run for ever."""
        listed = docker("stack", "services", "--format", "{{.Name}}", self.name).split()
        return {name.removeprefix(f"{self.name}_") for name in listed} - ONE_SHOT

    def healthy(self) -> dict[str, int]:
        """Service -> how many of its containers run and are healthy."""
        found: dict[str, int] = {}
        if not (identities := self.containers()):
            return found
        try:
            documents = json.loads(docker("inspect", *identities))
        except StackError:
            return found  # one of them went away between the two calls
        for document in documents:
            name = document["Config"]["Labels"][SWARM_SERVICE]
            if document["State"].get("Health", {}).get("Status", "healthy") == "healthy":
                service = name.removeprefix(f"{self.name}_")
                found[service] = found.get(service, 0) + 1
        return found

    def all_healthy(self) -> bool:
        found = self.healthy()
        return all(
            found.get(service, 0) == self.wanted.get(service, 1) for service in self.services()
        )

    def completed(self, service: str) -> bool:
        """Whether a task of the service has done its work."""
        ended = docker("service", "ps", "--format", "{{.CurrentState}}", f"{self.name}_{service}")
        return "Complete" in ended

    def wait(
        self,
        condition: Callable[[], bool],
        within_s: float,
        what: Callable[[], object] | None = None,
    ) -> None:
        deadline = monotonic() + within_s
        while not condition():
            assert monotonic() < deadline, (what or self.healthy)()
            sleep(2)

    def kill(self, container: str) -> None:
        """Without a warning; returns when the engine has noticed."""
        docker("kill", container)
        self.wait(lambda: container not in self.containers(), 30)

    def update(self, service: str, within_s: float) -> int:
        """Replace all tasks by new ones as the service's update policy says; the fewest that were
        healthy meanwhile."""
        least = self.wanted.get(service, 1)
        docker("service", "update", "--detach", "--force", f"{self.name}_{service}")

        def replaced() -> bool:
            nonlocal least
            least = min(least, self.healthy().get(service, 0))
            return self.updated(service)

        self.wait(replaced, within_s)
        return least

    def updated(self, service: str) -> bool:
        """Whether the last update has gone through all tasks."""
        name = f"{self.name}_{service}"
        state = docker("service", "inspect", "-f", "{{.UpdateStatus.State}}", name).strip()
        assert state in ("updating", "completed"), state
        return state == "completed"

    def start_inside(self, *arguments: str) -> subprocess.Popen[str]:
        """Run `tests.stack.inside` in the checker; prints go on as they come."""
        command = ("python", "-m", "tests.stack.inside", *arguments)
        return subprocess.Popen(
            ["docker", "exec", self.container(CHECKER), *command],
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def inside(self, *arguments: str) -> dict[str, Any]:
        """The same, for the JSON object it answers with."""
        with self.start_inside(*arguments) as process:
            assert process.stdout is not None
            said = process.stdout.read()
        assert process.returncode == 0, said
        answer: dict[str, Any] = json.loads(said.splitlines()[-1])
        return answer

    def redis(self, *command: str) -> str:
        read = 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) exec redis-cli "$@"'
        return docker("exec", self.container("redis"), "sh", "-c", read, "sh", *command).strip()

    def _label(self, service: str = "") -> str:
        if service:
            return f"label={SWARM_SERVICE}={self.name}_{service}"
        return f"label={STACK_NAMESPACE}={self.name}"
