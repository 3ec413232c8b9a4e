"""Starts containers again that were killed.

The engine restarts what ends by itself. `docker kill` it takes for the user's wish, as it does
`docker stop`, and leaves the container as it is, even after a restart of the machine. Here only the
second is a wish, also where the engine had to kill for it: whatever else ended by SIGKILL and stays
so is started again. `up.sh` starts this process beside the engine, where nothing that happens to
containers can end it, and `down.sh` ends it.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from scripts.stack.compose import Project, docker
from scripts.stack.environment import MARK
from scripts.stack.running import StackError
from services.core.labels import COMPOSE_FOLDER, COMPOSE_PROJECT

KILLED = 128 + 9
LEFT_S = 3.0
"""Whoever removes or restarts a container has done so by then."""
LOOK_S = 30.0
"""Between two looks without an event; also how long without any container ends this process."""
ENGINE_AWAY_S = 5.0

Json = Mapping[str, Any]


def was_killed(document: Json, now_s: float) -> bool:
    """Whether a container, as `docker inspect` describes it, was killed and is left like that."""
    state = document["State"]
    if state["Status"] != "exited" or state["ExitCode"] != KILLED:
        return False
    if document["HostConfig"]["RestartPolicy"]["Name"] in ("", "no"):
        return False
    return now_s - _seconds(state["FinishedAt"]) >= LEFT_S


def was_stopped(document: Json, now_s: float) -> bool:
    """Whether it ended by `docker stop`, which kills what does not end in time.

    The engine tells so once the container has ended. Raises `StackError`.
    """
    since_s = _seconds(document["State"]["FinishedAt"])
    span = ("--since", f"{since_s:.0f}", "--until", f"{now_s:.0f}")
    told = ("--filter", "event=stop", "--filter", f"container={document['Id']}")
    return bool(docker("events", *span, *told, "--format", "{{.ID}}").strip())


def _seconds(text: str) -> float:
    """UTC seconds of the engine's time with nanoseconds, as 2026-11-23T03:04:05.123456789Z."""
    return datetime.fromisoformat(f"{text.partition('.')[0].rstrip('Z')}+00:00").timestamp()


def look(filters: list[str], respected: set[str]) -> int:
    """Start again what was killed; the number of containers there are. Raises `StackError`.

    `respected`: ends that were found to be somebody's wish; the engine soon forgets whose.
    """
    identities = docker("ps", "-aq", "--no-trunc", *filters).split()
    if not identities:
        return 0
    documents: list[Json] = json.loads(docker("inspect", *identities))
    for document in documents:
        end = f"{document['Id']} {document['State']['FinishedAt']}"
        if end in respected or not was_killed(document, time.time()):
            continue
        name = document["Name"].lstrip("/")
        if was_stopped(document, time.time()):
            say(f"{name} was stopped, which took a kill; it stays so")
            respected.add(end)
            continue
        say(f"{name} was killed; starting it again")
        docker("start", document["Id"])
    return len(documents)


def keep(project: Project) -> None:
    """Look after each end of a container, and now and then, until there are none any more."""
    labels = {
        COMPOSE_PROJECT: project.name,
        COMPOSE_FOLDER: str(project.root),
    }
    filters = [part for k, v in labels.items() for part in ("--filter", f"label={k}={v}")]
    events = ["docker", "events", "--filter", "event=die", *filters, "--format", "{{.ID}}"]
    respected: set[str] = set()
    empty_since = None
    away = False
    while True:
        with subprocess.Popen(events, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as stream:
            try:
                while stream.poll() is None:
                    found = look(filters, respected)
                    away = False
                    empty_since = None if found else empty_since or time.monotonic()
                    if empty_since is not None and time.monotonic() - empty_since > LOOK_S:
                        return
                    _wait(stream)
            except StackError as error:
                if not away:
                    say(f"the engine does not do it, trying again and again: {error}")
                away = True
            finally:
                stream.terminate()
        time.sleep(ENGINE_AWAY_S)


def _wait(stream: subprocess.Popen[bytes]) -> None:
    """Until a container has ended, and as long as it takes to know that it is left like that."""
    assert stream.stdout is not None
    ready, _, _ = select.select([stream.stdout], [], [], LOOK_S)
    if ready:
        os.read(stream.stdout.fileno(), 65536)
        time.sleep(LEFT_S + 1)


def ensure(project: Project) -> None:
    """Start this process in the background unless it runs."""
    log = project.root / ".local" / "log" / "keeper.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "scripts.stack.keeper", str(project.root)]
    modules = os.pathsep.join((str(project.root), str(project.root / "aggr-server")))
    with log.open("a", encoding="utf-8") as output:
        subprocess.Popen(
            [*command, *(["--demo"] if project.demo else [])],
            env={**os.environ, MARK: str(project.root), "PYTHONPATH": modules},
            cwd=project.root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def say(text: str) -> None:
    """One line with the time in UTC."""
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}", flush=True)


def main(arguments: list[str]) -> int:
    """Entry point; answers the exit status."""
    parser = argparse.ArgumentParser(prog="keeper", description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--demo", action="store_true")
    chosen = parser.parse_args(arguments)
    lock = chosen.root / ".local" / ".keeper.lock"
    with lock.open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        keep(Project(chosen.root, chosen.demo, {}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
