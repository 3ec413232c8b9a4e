"""Where the local stack keeps its things; all of it inside the project's folder."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from scripts.stack.running import StackError

# The kernel's limit is 108 bytes; supervisord first binds to the name with its pid appended.
LONGEST_SOCKET_PATH = 96


@dataclass(frozen=True, slots=True)
class Layout:
    """Folders and files of the clone at `root`."""

    root: Path
    demo: bool

    @property
    def local(self) -> Path:
        """Everything that is installed or generated, except secrets."""
        return self.root / ".local"

    @property
    def run(self) -> Path:
        """Generated configuration, sockets, heartbeats."""
        return self.local / "run"

    @property
    def log(self) -> Path:
        """One log per service."""
        return self.local / "log"

    @property
    def data(self) -> Path:
        """Databases and state."""
        return self.local / ("demo" if self.demo else "live")

    @property
    def secrets(self) -> Path:
        """Generated passwords."""
        return self.root / "secrets"

    @property
    def socket(self) -> Path:
        """The supervisor's."""
        return self.run / "supervisor.sock"

    @property
    def state(self) -> Path:
        """What is running, for the commands that come later."""
        return self.run / "stack.json"

    def prepare(self) -> None:
        """Make the folders; demo data is thrown away. Raises `StackError` if the path is too
        long for a socket."""
        if len(os.fsencode(self.socket)) > LONGEST_SOCKET_PATH:
            raise StackError(
                f"The path {self.root} is too long: {self.socket} cannot be a socket. "
                "Move the project to a folder with a shorter path."
            )
        if self.demo:
            shutil.rmtree(self.data, ignore_errors=True)
        for folder in (self.run / "alive", self.log, self.data / "redis", self.data / "influx"):
            folder.mkdir(parents=True, exist_ok=True)
        self.run.chmod(0o700)
        for old in (self.run / "alive").iterdir():
            old.unlink()
