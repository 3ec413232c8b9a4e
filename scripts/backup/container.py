"""Backup and restore of the stack in containers."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from scripts.backup import collector, freqtrade, line_file
from scripts.backup.errors import BackupError
from scripts.backup.redis_files import AOF_MANIFEST, save
from scripts.stack.compose import Project, docker
from scripts.stack.running import StackError

COMMAND_TIMEOUT_S = 3600
READY_TIMEOUT_S = 120.0
RPC = "127.0.0.1:8088"
REDIS_DATA = "/data"
INFLUX_DATA = "/var/lib/influxdb"
# In the volume, since the root file system is read-only and /tmp is small.
INFLUX_SCRATCH = f"{INFLUX_DATA}/.transfer"
USER_DATA = "/freqtrade/user_data"
COLLECTOR_DATA = "/var/lib/aggr-server"

_REDIS = 'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" exec redis-cli --raw "$@"'
_INFLUX = (
    'export INFLUX_PASSWORD="$(cat /run/secrets/influx_password)"; '
    'exec influx -format json -precision "$2" -execute "$1"'
)
_INFLUX_FETCH = (
    f'rm -rf {INFLUX_SCRATCH}; trap "rm -rf {INFLUX_SCRATCH}" EXIT; '
    f'influxd backup -portable -host {RPC} -db "$1" {INFLUX_SCRATCH} >&2; '
    f"tar -C {INFLUX_SCRATCH} -c ."
)
_INFLUX_PUT = (
    f'rm -rf {INFLUX_SCRATCH}; trap "rm -rf {INFLUX_SCRATCH}" EXIT; mkdir {INFLUX_SCRATCH}; '
    f"tar -C {INFLUX_SCRATCH} -x; "
    f'influxd restore -portable -host {RPC} -db "$1" {INFLUX_SCRATCH} >&2'
)
_REDIS_PUT = (
    f"cd {REDIS_DATA}; rm -rf appendonlydir dump.rdb; mkdir appendonlydir; "
    "cat > appendonlydir/appendonly.aof.1.base.rdb; "
    f"printf '{AOF_MANIFEST.encode('unicode_escape').decode()}' "
    "> appendonlydir/appendonly.aof.manifest"
)


class _Containers:
    """What source and target have in common: commands inside the services' containers."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def redis(self, *arguments: str) -> str:
        """Run a Redis command."""
        answer = self._inside("redis", _REDIS, *arguments).decode().strip()
        if answer.startswith(("ERR", "NOAUTH", "WRONGPASS", "LOADING", "MISCONF")):
            raise BackupError(f"Redis does not do {arguments[0]}: {answer}")
        return answer

    def influx(self, statement: str) -> Any:
        """Run an InfluxQL statement."""
        return self._query(statement, "rfc3339")

    def influx_ns(self, statement: str) -> Any:
        """The same with times as nanoseconds."""
        return self._query(statement, "ns")

    def _query(self, statement: str, precision: str) -> Any:
        text = self._inside("aggr-influx", _INFLUX, statement, precision).decode()
        try:
            return json.loads(text)
        except ValueError as error:
            raise BackupError(f"InfluxDB refuses a query: {text.strip()[-300:]}") from error

    def _inside(
        self,
        service: str,
        script: str,
        *arguments: str,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
    ) -> bytes:
        """Run a shell script in a running container."""
        shell = ("sh", "-ec", script, "sh", *arguments)
        return self._compose("exec", "-T", service, *shell, stdin=stdin, stdout=stdout)

    def _beside(
        self,
        service: str,
        *command: str,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
    ) -> bytes:
        """Run a program in a new container with the service's volumes, whether or not that runs."""
        program, *rest = command
        options = ("--rm", "--no-deps", "-T", "--entrypoint", program)
        return self._compose("run", *options, service, *rest, stdin=stdin, stdout=stdout)

    def _compose(self, *arguments: str, stdin: IO[bytes] | None, stdout: IO[bytes] | None) -> bytes:
        command = self._project.command(*arguments)
        title = f"docker compose {arguments[0]}"
        return call(command, title, self._project, stdin=stdin, stdout=stdout)

    def _collector(
        self, verb: str, *, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
    ) -> None:
        command = ("python3", "-c", collector_source(), verb, COLLECTOR_DATA)
        self._beside("aggr-server", *command, stdin=stdin, stdout=stdout)

    def _freqtrade(
        self, verb: str, *, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
    ) -> bytes:
        source = Path(freqtrade.__file__).read_text(encoding="utf-8")
        command = ("python3", "-c", source, verb, USER_DATA)
        return self._beside("freqtrade", *command, stdin=stdin, stdout=stdout)


def collector_source() -> str:
    """The program that packs and unpacks a collector's folder."""
    return Path(collector.__file__).read_text(encoding="utf-8")


def call(
    command: Sequence[str],
    title: str,
    project: Project,
    *,
    stdin: IO[bytes] | None,
    stdout: IO[bytes] | None,
) -> bytes:
    """Run a command in the project's folder; return its output if that goes nowhere else.

    Raises `BackupError`, with `title` for the command.
    """
    try:
        done = subprocess.run(
            command,
            cwd=project.root,
            env={**os.environ, **project.environ},
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BackupError(f"{title} took over {COMMAND_TIMEOUT_S} s.") from error
    if done.returncode:
        said = (done.stderr.decode().strip() or (done.stdout or b"").decode().strip())[-500:]
        raise BackupError(f"{title} failed: {said}")
    return done.stdout or b""


class ContainerSource(_Containers):
    """The running containers. See `scripts.backup.place.Source`."""

    def __init__(self, project: Project, database: str) -> None:
        super().__init__(project)
        self.database = database

    @property
    def config(self) -> Path:
        """freqtrade's configuration file."""
        return self._project.root / "freqtrade" / "config" / "config.json"

    def fetch_dump(self, target: Path) -> None:
        """Copy a new dump out of the container."""
        save(self.redis)
        with target.open("wb") as file:
            self._inside("redis", f"cat {REDIS_DATA}/dump.rdb", stdout=file)

    def fetch_influx(self, target: Path) -> None:
        """Portable backup, written inside and copied out."""
        archive = target.with_suffix(".tar")
        with archive.open("wb") as file:
            self._inside("aggr-influx", _INFLUX_FETCH, self.database, stdout=file)
        with tarfile.open(archive) as files:
            if hasattr(tarfile, "data_filter"):
                files.extraction_filter = tarfile.data_filter
            files.extractall(target)
        archive.unlink()

    def fetch_freqtrade(self, target: Path) -> None:
        """Archive freqtrade's folder."""
        with target.open("wb") as file:
            self._freqtrade("pack", stdout=file)

    def fetch_collector(self, target: Path) -> None:
        """Archive the collector's folder."""
        with target.open("wb") as file:
            self._collector("pack", stdout=file)


class ContainerTarget(_Containers):
    """A project's volumes, opened by its own Redis and InfluxDB containers."""

    recomputes = True

    def __init__(self, project: Project, prepare: Callable[[], None] = lambda: None) -> None:
        """`prepare`: whatever the host needs before containers start, done once, at first need."""
        super().__init__(project)
        self._prepare: Callable[[], None] | None = prepare

    @property
    def title(self) -> str:
        """The project."""
        return f"The data of {self._project.name}"

    def open(self) -> None:
        """Start both databases."""
        prepare, self._prepare = self._prepare, None
        if prepare:
            try:
                prepare()
            except StackError as error:
                raise BackupError(str(error)) from error
        self._up("redis", "aggr-influx")
        self._wait("redis", "aggr-influx")
        self._unbind("aggr-influx")

    def close(self) -> None:
        """Stop them; the volumes stay."""
        self._run("down", "--remove-orphans")

    def influx(self, statement: str) -> Any:
        """Run an InfluxQL statement; a server without a login yet has no databases either."""
        try:
            return super().influx(statement)
        except BackupError as error:
            if "create admin user first" in str(error):
                return {}
            raise

    def freqtrade_databases(self) -> list[str]:
        """Names of the databases that are there."""
        return self._freqtrade("list").decode().split()

    def clear(self) -> None:
        """Empty the folders that a backup holds. The volumes stay, since some hold what it does
        not, and a volume that is a folder of this host would keep its files without it."""
        self.close()
        self._empty("redis", REDIS_DATA)
        self._empty("aggr-influx", INFLUX_DATA)
        self._freqtrade("clear")
        self._collector("clear")
        self.open()

    def _unbind(self, service: str) -> None:
        """Let it have all processors, since nobody else needs them until it is made anew."""
        found = [c.identity for c in self._project.containers() if c.service == service]
        try:
            docker("update", "--cpus", str(os.cpu_count() or 1), *found)
        except StackError as error:
            raise BackupError(str(error)) from error

    def _empty(self, service: str, folder: str) -> None:
        self._beside(service, "find", folder, "-mindepth", "1", "-delete")

    def put_redis(self, dump: Path) -> None:
        """Replace Redis' files while it is stopped."""
        self._run("stop", "redis")
        with dump.open("rb") as file:
            self._beside("redis", "sh", "-ec", _REDIS_PUT, stdin=file)
        self._run("start", "redis")
        self._wait("redis")

    def put_influx(self, backup: Path, database: str) -> None:
        """Copy the portable backup in and restore it; then create the login."""
        with subprocess.Popen(
            ["tar", "-C", str(backup), "-c", "."], stdout=subprocess.PIPE
        ) as packing:
            self._inside("aggr-influx", _INFLUX_PUT, database, stdin=packing.stdout)
        if packing.returncode:
            raise BackupError(f"tar could not read {backup} (status {packing.returncode}).")
        self.login()

    def login(self) -> None:
        """Let influx-init create the user, the continuous queries, and what else is missing."""
        self._run("run", "--rm", "--no-deps", "-T", "influx-init")

    def put_lines(self, path: Path, database: str, policy: str) -> None:
        """Write a file of line protocol from a container beside InfluxDB."""
        source = Path(line_file.__file__).read_text(encoding="utf-8")
        command = ("python3", "-c", source, database, policy)
        with path.open("rb") as file:
            self._beside("influx-init", *command, stdin=file)

    def put_freqtrade(self, archive: Path) -> None:
        """Unpack freqtrade's folder into its volume."""
        with archive.open("rb") as file:
            self._freqtrade("unpack", stdin=file)

    def put_collector(self, archive: Path) -> None:
        """Unpack the collector's folder into its volume."""
        with archive.open("rb") as file:
            self._collector("unpack", stdin=file)

    def _up(self, *services: str) -> None:
        self._run("up", "--detach", *services)

    def _wait(self, *services: str) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            found = {c.service: c.verdict for c in self._project.containers()}
            if all(found.get(service) == "healthy" for service in services):
                return
            if time.monotonic() > deadline:
                raise BackupError(f"{' and '.join(services)} did not become healthy: {found}")
            time.sleep(0.5)

    def _run(self, *arguments: str) -> None:
        try:
            self._project.run(*arguments)
        except StackError as error:
            raise BackupError(str(error)) from error
