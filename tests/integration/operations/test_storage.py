"""What InfluxDB has acknowledged survives crashes, a full disk and a backup; old bars go."""

from __future__ import annotations

import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.backup import influx
from scripts.backup.create import create
from scripts.backup.native import Influx
from services import influx_init
from services.core.settings import InfluxSchemaSettings
from tests.integration.operations.stack import DATABASE, silent
from tests.integration.operations.stack import start as start_stack
from tests.integration.servers import InfluxServer, programs

BATCH = 200
WAIT_S = 60.0
END = "2262-01-01T00:00:00Z"


def _client(server: InfluxServer) -> Influx:
    return Influx(programs().influxd, server.port, server.rpc_port)


class Writer(threading.Thread):
    """Writes batch after batch, each until it is acknowledged, as the collector's spool does."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        query = urllib.parse.urlencode({"db": "test", "precision": "s"})
        self._url = f"http://127.0.0.1:{port}/write?{query}"
        self.stopped = threading.Event()
        self.acknowledged = 0
        self.refused = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            start = self.acknowledged * BATCH
            points = "\n".join(f"bars n={n}i {n + 1}" for n in range(start, start + BATCH))
            while not self._accepted(points.encode()):
                self.refused.set()
                if self.stopped.wait(0.02):
                    return
            self.acknowledged += 1

    def _accepted(self, points: bytes) -> bool:
        try:
            with urllib.request.urlopen(urllib.request.Request(self._url, points), timeout=10) as a:
                return bool(a.status == 204)
        except (OSError, urllib.error.URLError):
            return False

    def wait_for(self, acknowledged: int) -> None:
        """Until so many batches are acknowledged."""
        deadline = time.monotonic() + WAIT_S
        while self.acknowledged < acknowledged:
            assert time.monotonic() < deadline, f"{self.acknowledged} of {acknowledged}"
            time.sleep(0.005)


def _stored(server: InfluxServer) -> tuple[int, int]:
    """Number and sum of what is there."""
    statement = 'SELECT count(n), sum(n) FROM "test"."autogen"."bars"'
    [one] = influx.series(_client(server).query(statement))
    _, number, total = one["values"][0]
    return number, total


def _assert_nothing_is_lost(server: InfluxServer, acknowledged: int) -> None:
    number, total = _stored(server)
    least = acknowledged * BATCH
    # The last batch may have been stored without its acknowledgement getting through.
    assert least <= number <= least + BATCH
    assert total >= least * (least - 1) // 2


@pytest.mark.parametrize(
    "kills", [10, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_d1_no_acknowledged_point_is_lost_when_influxdb_is_killed_while_writing(
    own_influx: InfluxServer, kills: int
) -> None:
    _assert_kills_lose_nothing(own_influx, kills)


def test_d1_what_is_acknowledged_after_a_torn_write_outlives_the_next_crash(
    own_influx: InfluxServer,
) -> None:
    _assert_kills_lose_nothing(own_influx, 3, then=_tear)


def _assert_kills_lose_nothing(
    server: InfluxServer, kills: int, then: Callable[[InfluxServer], None] = lambda _: None
) -> None:
    _client(server).query("CREATE DATABASE test")
    writer = Writer(server.port)
    writer.start()
    for _ in range(kills):
        writer.wait_for(writer.acknowledged + 3)
        server.kill()
        then(server)
        server.start()
    writer.wait_for(writer.acknowledged + 3)
    writer.stopped.set()
    writer.join(30)

    _assert_nothing_is_lost(server, writer.acknowledged)


def _tear(server: InfluxServer) -> None:
    """Leave the beginning of an entry: type, length and some of what was to follow."""
    newest = max(server.folder.glob("wal/test/autogen/*/_*.wal"))
    with newest.open("ab") as file:
        file.write(b"\x01" + (1000).to_bytes(4, "big") + bytes(500))


class SmallDisk(InfluxServer):
    """Its data lies in a file system of its own, which outlives it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.disk = folder / "disk"
        self.disk.mkdir(parents=True)
        script = f'mount -t tmpfs -o size=12m tmpfs "{self.disk}" && echo ready && exec sleep 600'
        self._holder = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"

    def _command(self) -> list[str]:
        command = super()._command()
        config = Path(command[-1])
        text = config.read_text()
        for name in ("meta", "data", "wal"):
            text = text.replace(f'"{self.folder}/{name}"', f'"{self.disk}/{name}"')
        config.write_text(text)
        command = [part.replace(f"{self.folder}/wal", f"{self.disk}/wal") for part in command]
        enter = ["nsenter", "--target", str(self._holder.pid), "--user", "--mount"]
        return [*enter, "--preserve-credentials", *command]

    @property
    def inside(self) -> Path:
        """The folder of the disk, as seen from here."""
        return Path(f"/proc/{self._holder.pid}/root{self.disk}")

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.inside / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(64 << 10))
            except OSError:
                pass

    def free(self) -> None:
        """Undo `fill`."""
        (self.inside / "ballast").unlink()

    def remove(self) -> None:
        """End it, and give the disk back."""
        self.kill()
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    server = SmallDisk(tmp_path / "influx")
    server.start()
    yield server
    server.remove()


@pytest.mark.parametrize("crash", [False, True], ids=["restarted", "killed"])
def test_d2_after_a_full_disk_is_freed_and_influxdb_restarted_nothing_is_missing(
    small_disk: SmallDisk, crash: bool
) -> None:
    _client(small_disk).query("CREATE DATABASE test")
    writer = Writer(small_disk.port)
    writer.start()
    writer.wait_for(5)

    small_disk.fill()
    assert writer.refused.wait(WAIT_S), "writes went on although the disk is full"
    if crash:
        small_disk.kill()
    small_disk.free()
    # What was being written to when the disk was full is refused until InfluxDB opens it anew.
    small_disk.stop()
    small_disk.start()

    writer.wait_for(writer.acknowledged + 5)
    writer.stopped.set()
    writer.join(30)
    small_disk.kill()
    small_disk.start()
    _assert_nothing_is_lost(small_disk, writer.acknowledged)


def test_d4_one_second_bars_go_on_time_and_give_back_their_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFLUXDB_RETENTION_CHECK_INTERVAL", "1s")
    server = InfluxServer(tmp_path / "influx")
    server.start()
    try:
        three_weeks = _three_weeks_of_bars(server)
        before = influx.stored_bytes(_client(server).query, DATABASE)
        _apply(server, "24h")
        after = _days_once_dropped(server, before)
    finally:
        server.kill()
    assert len(three_weeks) == 21
    # A shard of a day goes when its last second is too old.
    assert {*after} == {*sorted(three_weeks)[-len(after) :]}
    assert 1 <= len(after) <= 3


def _apply(server: InfluxServer, retention: str) -> None:
    settings = InfluxSchemaSettings(influx_port=server.port, influx_retention_1s=retention)
    with influx_init.connect(settings) as client:
        influx_init.apply_schema(client, settings, report=silent)


def _three_weeks_of_bars(server: InfluxServer) -> dict[str, object]:
    _apply(server, "4w")
    now = int(time.time())
    for day in range(21):
        start = now - day * 86400 - 300
        lines = "\n".join(
            f"trades_1s,market=m{market} vbuy={second}.5,trades={second}i {start + second}000000000"
            for market in range(20)
            for second in range(100)
        )
        _client(server).write(lines.encode(), DATABASE, "aggr_1s")
    return {**influx.days(_client(server).query, DATABASE, END)["aggr_1s.trades_1s"]}


def _days_once_dropped(server: InfluxServer, bytes_before: int) -> dict[str, object]:
    """What is left once most is gone, from the disk too, which comes after it cannot be read."""
    query = _client(server).query
    deadline = time.monotonic() + WAIT_S
    while True:
        found = influx.days(query, DATABASE, END)["aggr_1s.trades_1s"]
        left = influx.stored_bytes(query, DATABASE)
        if len(found) <= 3 and left < bytes_before / 5:
            return {**found}
        assert time.monotonic() < deadline, f"{len(found)} days and {left} bytes are still there"
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_b4_a_backup_delays_what_is_being_stored_by_less_than_a_second(tmp_path: Path) -> None:
    stack = start_stack(tmp_path / "stack")
    try:
        _fill(stack.source._influx, points=2_000_000)
        load = Load(stack.source._influx)
        load.start()
        load.wait(10.0)
        quiet, load.lags_s = load.lags_s, []
        began = time.monotonic()
        create(stack.source, tmp_path / "backups", silent)
        took_s = time.monotonic() - began
        load.wait(max(0.0, 5.0 - took_s))
        busy = load.lags_s
        load.stopped.set()
        load.join(30)
    finally:
        stack.stop()
    assert _p99(busy) - _p99(quiet) < 1.0, f"{_p99(quiet):.3f} s, then {_p99(busy):.3f} s"


class Load(threading.Thread):
    """200 bars every 200 ms: five times what 200 markets make. Keeps how late each was stored."""

    EVERY_S = 0.2

    def __init__(self, client: Influx) -> None:
        super().__init__(daemon=True)
        self._influx = client
        self.stopped = threading.Event()
        self.lags_s: list[float] = []

    def run(self) -> None:
        due = time.monotonic()
        while not self.stopped.wait(max(0.0, due - time.monotonic())):
            now_ns = time.time_ns()
            lines = "\n".join(f"trades_1s,market=m{n} vbuy={n}.5 {now_ns}" for n in range(BATCH))
            self._influx.write(lines.encode(), DATABASE, "aggr_1s")
            self.lags_s.append(time.monotonic() - due)
            due += self.EVERY_S

    def wait(self, seconds: float) -> None:
        """Let it go on."""
        self.stopped.wait(seconds)
        assert self.is_alive()


def _fill(client: Influx, points: int) -> None:
    start = (int(time.time()) - 6 * 3600) * 10**9
    for batch in range(points // 10_000):
        lines = "\n".join(
            f"trades_1s,market=m{n % 200} vbuy={n}.5,vsell={n}.25,trades={n}i "
            f"{start + (batch * 50 + n // 200) * 10**9}"
            for n in range(10_000)
        )
        client.write(lines.encode(), DATABASE, "aggr_1s")


def _p99(lags_s: list[float]) -> float:
    return sorted(lags_s)[int(len(lags_s) * 0.99)]
