"""Calls of `docker compose` for one project, and what its containers are doing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.stack.running import StackError
from services.core.labels import COMPOSE_FOLDER, COMPOSE_PROJECT, COMPOSE_SERVICE

OLDEST_COMPOSE = (2, 24)
LOG_LINES_SHOWN = 15


@dataclass(frozen=True, slots=True)
class Container:
    """A container of the project. `health`: empty if it has no health check. `pid`: of its first
    process as the host sees it, 0 if it is not running. `folder`: where its Compose file lies."""

    identity: str
    name: str
    service: str
    state: str
    health: str
    exit_status: int
    pid: int
    folder: str

    @property
    def verdict(self) -> str:
        """`healthy`, or what is wrong in a few words."""
        if self.state == "running":
            return self.health or "healthy"
        if self.state == "exited":
            return "healthy" if self.exit_status == 0 else f"ended with status {self.exit_status}"
        return self.state


@dataclass(frozen=True, slots=True)
class Project:
    """One Compose project: the files it is made of and the variables given to them.

    `scratch`: name of a set of volumes beside the real ones, empty for the real ones. `stack`: name
    of a Swarm stack whose volumes these are, empty for those of Compose.
    """

    root: Path
    demo: bool
    environ: Mapping[str, str]
    scratch: str = ""
    stack: str = ""

    @property
    def name(self) -> str:
        """Name of the project, in front of its volumes' and replicas' names."""
        if self.stack:
            return self.stack
        if self.scratch:
            # Of this clone: another on this host may have a scratch copy of the same name.
            clone = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]
            return f"squeezeflow-{self.scratch}-{clone}"
        return "squeezeflow-demo" if self.demo else "squeezeflow"

    def run(self, *arguments: str, timeout_s: float = 600, given: str = "") -> str:
        """Run `docker compose ARGUMENTS` with `given` as its input; return its output.

        Raises `StackError`.
        """
        try:
            done = subprocess.run(
                self.command(*arguments),
                cwd=self.root,
                env={**os.environ, **self.environ},
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                input=given,
            )
        except subprocess.TimeoutExpired as error:
            raise StackError(
                f"docker compose {arguments[0]} took over {timeout_s:.0f} s."
            ) from error
        if done.returncode:
            raise StackError(f"docker compose {arguments[0]} failed:\n{tail(done.stderr)}")
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same without waiting; standard error is piped."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env={**os.environ, **self.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *arguments: str) -> list[str]:
        """The command line. The live project takes the files of COMPOSE_FILE, as Compose does."""
        files: tuple[str, ...] = ()
        if self.scratch or self.stack:
            files = ("-f", "docker-compose.yml", "-f", "docker/compose.scratch.yml")
        elif self.demo:
            files = ("-f", "docker-compose.yml", "-f", "docker-compose.demo.yml")
        where = ("--project-directory", str(self.root), "-p", self.name)
        return ["docker", "compose", *where, "--progress", "plain", *files, *arguments]

    def config(self) -> dict[str, Any]:
        """The files as Compose understands them."""
        document: dict[str, Any] = json.loads(self.run("config", "--format", "json"))
        return document

    def containers(self) -> list[Container]:
        """Containers of the project that were made from this folder, running or not."""
        return [c for c in self._all() if c.folder == str(self.root)]

    def elsewhere(self) -> set[str]:
        """Other folders that containers of this project's name were made from."""
        return {c.folder for c in self._all()} - {str(self.root)}

    def _all(self) -> list[Container]:
        label = f"label={COMPOSE_PROJECT}={self.name}"
        while True:
            identities = docker("ps", "-aq", "--no-trunc", "--filter", label).split()
            if not identities:
                return []
            try:
                return [_container(d) for d in json.loads(docker("inspect", *identities))]
            except StackError:
                # One of them went away between the two calls.
                continue

    def logs(self, service: str) -> str:
        """End of a service's log, indented."""
        text = self.run("logs", "--no-color", "--no-log-prefix", "--tail", "50", service)
        return tail(text)


def docker(*arguments: str, timeout_s: float = 60) -> str:
    """Run `docker ARGUMENTS`; return its output. Raises `StackError`."""
    try:
        done = subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"docker {arguments[0]} took over {timeout_s:.0f} s.") from error
    if done.returncode:
        raise StackError(f"docker {arguments[0]} failed:\n{tail(done.stderr)}")
    return done.stdout


def engine_answers() -> bool:
    """Whether a Docker engine is there and lets this user in."""
    try:
        docker("info", timeout_s=15)
    except (StackError, OSError):
        return False
    return True


def require_compose() -> None:
    """Raises `StackError` with the remedy unless Compose is new enough."""
    oldest = ".".join(map(str, OLDEST_COMPOSE))
    remedy = (
        f"Docker Compose {oldest} or newer is needed as a plugin of the docker command. Install "
        "the package docker-compose-plugin (Docker's repository) or docker-compose (Debian 13), "
        "or start with --native."
    )
    try:
        text = docker("compose", "version", "--short")
    except StackError as error:
        raise StackError(remedy) from error
    found = re.match(r"v?(\d+)\.(\d+)", text.strip())
    if found is None or (int(found[1]), int(found[2])) < OLDEST_COMPOSE:
        raise StackError(f"{remedy} Found: {text.strip()}.")


def tail(text: str, lines: int = LOG_LINES_SHOWN) -> str:
    """The last lines of a text, indented."""
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-lines:])


def states(containers: Sequence[Container]) -> dict[str, str]:
    """Service -> `healthy`, or what is wrong with it; of several replicas the worst counts."""
    found: dict[str, str] = {}
    for container in containers:
        if found.get(container.service, "healthy") == "healthy":
            found[container.service] = container.verdict
    return dict(sorted(found.items()))


def _container(document: dict[str, Any]) -> Container:
    state = document["State"]
    return Container(
        identity=document["Id"],
        name=document["Name"].lstrip("/"),
        service=document["Config"]["Labels"][COMPOSE_SERVICE],
        state=state["Status"],
        health=state.get("Health", {}).get("Status", ""),
        exit_status=state["ExitCode"],
        pid=state["Pid"],
        folder=document["Config"]["Labels"].get(COMPOSE_FOLDER, ""),
    )
