"""The images of the stack: public ones pulled, or stood in for where no registry answers; our own
built."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.stack import pins
from scripts.stack.compose import Project, docker, tail
from scripts.stack.progress import Progress
from scripts.stack.running import StackError

PULL_TIMEOUT_S = 600
BUILD_TIMEOUT_S = 1800


def ensure(project: Project, progress: Progress) -> None:
    """Pull what is missing, by its digest where `docker/images.lock` has one, and build what has
    changed.

    Where no registry answers, the demo builds stand-ins for the public images; a live stack does
    not, since real money should run on the real ones. Raises `StackError` with the remedy.
    """
    digests = pins.read(project.root)
    missing = [name for name, kind in kinds(project.root).items() if kind == "missing"]
    for name in missing:
        progress.say(name, "pulling")
        try:
            _pull(name, digests)
        except StackError as error:
            if not project.demo:
                raise StackError(
                    f"{name} cannot be pulled:\n{error}\n"
                    "Let this host reach a registry. To try the stack without one, build stand-ins "
                    "first: ./scripts/standin_images.sh"
                ) from error
            progress.say("images", "no registry answers; building stand-ins (several minutes)")
            _stand_in(project.root, progress)
            break
    if standins := [name for name, kind in kinds(project.root).items() if kind == "stand-in"]:
        progress.say("images", f"stand-ins in use: {', '.join(standins)}")
    _build(project, progress)


def missing(config: Mapping[str, Any]) -> bool:
    """Whether any image of the services is not on this host; `config` as Compose gives it."""
    names = {service.get("image", name) for name, service in config["services"].items()}
    try:
        docker("image", "inspect", *sorted(names))
    except StackError:
        return True
    return False


def _pull(name: str, digests: Mapping[str, str]) -> None:
    wanted = pins.reference(name, digests)
    docker("pull", "--quiet", wanted, timeout_s=PULL_TIMEOUT_S)
    if wanted != name:
        # The Compose files and Dockerfiles know it by its tag.
        docker("tag", wanted, name)


def kinds(root: Path) -> dict[str, str]:
    """Public image -> `public`, `stand-in` or `missing`."""
    done = subprocess.run(
        [str(root / "scripts" / "standin_images.sh"), "--list"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return dict(line.split() for line in done.stdout.splitlines())


def _stand_in(root: Path, progress: Progress) -> None:
    process = subprocess.Popen(
        [str(root / "scripts" / "standin_images.sh")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    lines: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line.rstrip())
        if line.startswith("stand-in images: "):
            progress.say("images", line.removeprefix("stand-in images: ").rstrip())
    if process.wait():
        raise StackError(
            "No registry answers, and the stand-in images cannot be built:\n"
            f"{tail(chr(10).join(lines))}\n"
            "Start with --native to run without containers."
        )


def _build(project: Project, progress: Progress) -> None:
    built: set[str] = set()
    for name, service in project.config()["services"].items():
        image = service.get("image", name)
        if "build" not in service or image in built:
            continue
        built.add(image)
        progress.say(image, "building")
        project.run("build", "--quiet", name, timeout_s=BUILD_TIMEOUT_S)
    progress.say("images", "ready")
