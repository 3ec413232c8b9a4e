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
        """Copy Redis' last dump to a file."""

    def influx(self, statement: str) -> Any:
        """Run an InfluxQL statement; return InfluxDB's JSON document."""

    def fetch_influx(self, target: Path) -> None:
        """Let influxd write a portable backup into a folder."""

    def fetch_freqtrade(self, target: Path) -> None:
        """Write freqtrade's folder as a tar archive."""

    @property
    def config(self) -> Path:
        """freqtrade's configuration file."""


class Target(Protocol):
    """The data of a stack that is not running. All methods raise `BackupError`."""

    @property
    def title(self) -> str:
        """What it is, for messages."""

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

    def put_freqtrade(self, archive: Path) -> None:
        """Unpack freqtrade's folder."""
