"""Backup and restore of a stack in Docker Swarm, on its manager, where all its data lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, TypeVar

from scripts.backup.container import (
    COLLECTOR_DATA,
    USER_DATA,
    ContainerSource,
    ContainerTarget,
    call,
    collector_source,
)
from scripts.backup.errors import BackupError
from scripts.stack import swarm
from scripts.stack.compose import Project
from scripts.stack.running import StackError

T = TypeVar("T")


class SwarmSource(ContainerSource):
    """A stack that runs. Nothing of it is started, stopped or scaled. See
    `scripts.backup.place.Source`."""

    def _inside(
        self,
        service: str,
        script: str,
        *arguments: str,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
    ) -> bytes:
        container = _told(lambda: swarm.container(self._project.stack, service))
        command = ("docker", "exec", "-i", container, "sh", "-ec", script, "sh", *arguments)
        title = f"docker exec in {service}"
        return call(command, title, self._project, stdin=stdin, stdout=stdout)

    def _beside(
        self,
        service: str,
        *command: str,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
    ) -> bytes:
        stack = self._project.stack
        image = _told(lambda: swarm.image(stack, service))
        volumes = {swarm.volume(stack, "freqtrade_data"): USER_DATA}
        return _run(self._project, image, volumes, command, stdin=stdin, stdout=stdout)

    def _collector(
        self, verb: str, *, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
    ) -> None:
        stack = self._project.stack
        image = _told(lambda: swarm.image(stack, swarm.COLLECTOR))
        names = _told(lambda: swarm.collector_volumes(stack))
        folders = [f"{COLLECTOR_DATA}/{part}" for part in range(1, len(names) + 1)]
        command = ("python3", "-c", collector_source(), verb, *folders)
        volumes = dict(zip(names, folders, strict=True))
        _run(self._project, image, volumes, command, stdin=stdin, stdout=stdout)


class SwarmTarget(ContainerTarget):
    """The volumes of a stack that does not run, opened by Compose under the stack's name.

    `collectors`: how many share the markets.
    """

    def __init__(self, project: Project, prepare: Callable[[], None], collectors: int) -> None:
        super().__init__(project, prepare)
        self._collectors = collectors

    def _collector(
        self, verb: str, *, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
    ) -> None:
        image = _told(self._project.config)["services"][swarm.COLLECTOR]["image"]
        names = _told(lambda: swarm.collector_volumes(self._project.stack, self._collectors))
        for part, name in enumerate(names, 1):
            which = (str(part),) if verb == "unpack" else ()
            # Where the collector has it, so that a new volume belongs to the right user.
            command = ("python3", "-c", collector_source(), verb, COLLECTOR_DATA, *which)
            if stdin:
                stdin.seek(0)
            _run(self._project, image, {name: COLLECTOR_DATA}, command, stdin=stdin, stdout=stdout)


def require_down(stack: str) -> None:
    """Raises `BackupError` while the stack runs."""
    if _told(lambda: swarm.services(stack)):
        raise BackupError(f"The stack {stack} is running. Remove it first: docker stack rm {stack}")
    if _told(lambda: swarm.ending(stack)):
        raise BackupError(
            f"Containers of the stack {stack} are still ending. Try again in a minute."
        )


def _run(
    project: Project,
    image: str,
    volumes: dict[str, str],
    command: Sequence[str],
    *,
    stdin: IO[bytes] | None,
    stdout: IO[bytes] | None,
) -> bytes:
    """Run a program of an image with these volumes, and nothing else within reach."""
    program, *rest = command
    mounts = [part for name, folder in volumes.items() for part in ("-v", f"{name}:{folder}")]
    line = ["docker", "run", "--rm", "-i", "--network", "none", "--read-only", "--tmpfs", "/tmp"]
    line += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", *mounts]
    line += ["--entrypoint", program, image, *rest]
    return call(line, "docker run", project, stdin=stdin, stdout=stdout)


def _told(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except StackError as error:
        raise BackupError(str(error)) from error
