"""Goes through a document and does what it says."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator

from tests.operator import plan
from tests.operator.documents import Command
from tests.operator.fill import fill
from tests.operator.place import Done, Place

SWITCHES = re.compile(r"\./scripts/(up|down)\.sh")
PATIENCE_S = 120.0
"""How long a command that looks at the stack may find it unready after a start."""
SHOWN = 2500


class Walk:
    """Runs commands in their order, each once, those that start and stop the stack each time.

    `start`: by what the stack is started where a command wants it up; None: it is up.
    """

    def __init__(self, place: Place, start: str | None) -> None:
        self._place, self._start = place, start

    def through(self, commands: Iterable[Command]) -> list[str]:
        """What went wrong, in words; empty if nothing."""
        return list(self._failures(commands))

    def _failures(self, commands: Iterable[Command]) -> Iterator[str]:
        seen: set[str] = set()
        for command in commands:
            if command.text in seen and not SWITCHES.match(command.text):
                continue
            seen.add(command.text)
            if self._start is not None:
                self._prepare(command.text, self._start)
            typed = fill(self._place, command.text)
            began = time.monotonic()
            done = self._run(command.text, typed)
            print(f"{command} [{done.status}, {time.monotonic() - began:.1f} s]", flush=True)
            if reason := wrong(command.text, done):
                yield f"{command}\n  {reason}; it was typed as {typed}\n{done.text[-SHOWN:]}"

    def _run(self, command: str, typed: str) -> Done:
        deadline = time.monotonic() + PATIENCE_S
        done = self._place.run(typed)
        while wrong(command, done) and command in plan.LOOKS and time.monotonic() < deadline:
            time.sleep(5)
            done = self._place.run(typed)
        return done

    def _prepare(self, command: str, start: str) -> None:
        """Bring the stack into the state in which a reader is who comes to this command."""
        up = self._place.up
        if command in plan.STOPPED:
            fill(self._place, command)  # what it restores is made while the stack is up
            self._down()
        elif command == "./scripts/up.sh" and self._place.demo:
            self._down()
        elif not up and (command == "./scripts/down.sh" or not command.startswith(plan.ALONE)):
            self._place.must(start)
        if command in plan.LOST:
            shutil.rmtree(self._place.root / ".local" / "live")

    def _down(self) -> None:
        if self._place.up:
            self._place.must("./scripts/down.sh")


def wrong(command: str, done: Done) -> str:
    """What is wrong with how a command ended; empty if nothing."""
    answer = plan.ANSWERS.get(command, plan.Answer())
    if done.status not in answer.statuses:
        return f"it ended with status {done.status}"
    if "Traceback (most recent call last)" in done.text:
        return "it fell over"
    if not re.search(answer.says, done.text):
        return f"it did not say {answer.says}"
    return ""
