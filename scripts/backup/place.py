"""What a backup is taken from, and what it is restored into."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Source(Protocol):
    """A running stack. All methods raise `BackupError`."""

    database: str
    """Name of the InfluxDB database."""

    def redis(self, *arguments: str) -> str:
        """Run a Redis command; return the answer as text."""

    def fetch_dump(self, target: Path) -> None:
        """Make Redis write a dump of what it holds now, and copy it to a file."""

    def influx(self, statement: str) -> Any:
        """Run an InfluxQL statement; return InfluxDB's JSON document."""

    def influx_ns(self, statement: str) -> Any:
        """The same with times as nanoseconds."""

    def fetch_influx(self, target: Path) -> None:
        """Let influxd write a portable backup into a folder."""

    def fetch_freqtrade(self, target: Path) -> None:
        """Write freqtrade's folder as a compressed tar archive."""

    def fetch_collector(self, target: Path) -> None:
        """Write the collector's folder as a compressed tar archive."""

    @property
    def config(self) -> Path:
        """freqtrade's configuration file."""


class Target(Protocol):
    """The data of a stack that is not running. All methods raise `BackupError`."""

    @property
    def title(self) -> str:
        """What it is, for messages."""

    @property
    def recomputes(self) -> bool:
        """Whether continuous queries run on what is restored, and may complete its last day."""

    def open(self) -> None:
        """Start whatever is needed to look into the data and to restore."""

    def close(self) -> None:
        """Stop that again."""

    def redis(self, *arguments: str) -> str:
        """Run a Redis command; return the answer as text."""

    def influx(self, statement: str) -> Any:
        """Run an InfluxQL statement; return InfluxDB's JSON document."""

    def freqtrade_databases(self) -> list[str]:
        """Names of the databases that are there."""

    def clear(self) -> None:
        """Throw away all data. Called only when asked for by name."""

    def put_redis(self, dump: Path) -> None:
        """Make Redis load this dump instead of what it has, and wait until it has."""

    def put_influx(self, backup: Path, database: str) -> None:
        """Restore a portable backup of a database that does not exist yet.

        It has no continuous queries and no users; influx-init creates them at every start.
        """

    def login(self) -> None:
        """Make sure that statements that write are let in."""

    def put_lines(self, path: Path, database: str, policy: str) -> None:
        """Write a file of `scripts.backup.lines` into a retention policy that exists."""

    def put_freqtrade(self, archive: Path) -> None:
        """Unpack freqtrade's folder."""

    def put_collector(self, archive: Path) -> None:
        """Unpack the collector's folder."""
