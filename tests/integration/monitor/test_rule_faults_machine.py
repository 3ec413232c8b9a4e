"""Rules on the machine, its clock and its backups.

Disks, clocks and folders are real ones in trouble. The machine's memory, CPUs and load cannot be
brought into trouble by a test beside others: there the kernel's tables say it, as in a container
that finds them under another path.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from services.monitor.host import HostSampler, use_procfs
from services.monitor.measure import host as host_measure
from services.monitor.measure.backup import Backups
from services.monitor.measure.clock import VENUES, Clock
from services.monitor.measure.host import Machine
from services.monitor.readings import Reading
from tests.integration.monitor.faults import Operator, nothing, raises
from tests.integration.servers import free_port

MB = 1 << 20


def ignore(_: Iterable[str]) -> None:
    """The points that would be stored."""


class SmallDisk:
    """A file system in memory, in a mount namespace that ends with its process."""

    def __init__(self, folder: Path, size: str) -> None:
        folder.mkdir()
        script = f'mount -t tmpfs -o size={size} tmpfs "{folder}" && echo ready && exec sleep 600'
        self._process = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        self.path = Path(f"/proc/{self._process.pid}/root{folder}")

    def fill(self, size: int) -> None:
        (self.path / "file").write_bytes(bytes(size))

    def empty(self) -> None:
        (self.path / "file").unlink()

    async def grow(self, bytes_per_s: float) -> None:
        """Write at this pace until cancelled."""
        with (self.path / "file").open("wb", buffering=0) as file:
            begin, written = time.monotonic(), 0
            while True:
                more = int((time.monotonic() - begin) * bytes_per_s) - written
                file.write(bytes(more))
                written += more
                await asyncio.sleep(0.02)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def reader(path: Path) -> Machine:
    return Machine(HostSampler((str(path),)), ignore)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "small", "8m")
    yield disk
    disk.close()


OF_DISKS = ("disk_nearly_full", "disk_full")


@raises("disk_nearly_full")
async def test_a_disk_that_is_nearly_full(disk: SmallDisk) -> None:
    operator = Operator({"host": reader(disk.path).readings}, *OF_DISKS)
    await operator.shows("disk_nearly_full", fault=lambda: disk.fill(7 * MB), mend=disk.empty)


@raises("disk_full")
async def test_a_disk_that_is_full(disk: SmallDisk) -> None:
    operator = Operator({"host": reader(disk.path).readings}, *OF_DISKS)
    await operator.shows("disk_full", fault=lambda: disk.fill(int(7.8 * MB)), mend=disk.empty)


class Filling:
    """Writes to a disk from the fault until it is mended."""

    def __init__(self, disk: SmallDisk, full_in_h: float, size_bytes: int) -> None:
        self._disk = disk
        self._bytes_per_s = size_bytes / full_in_h / 3600
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = asyncio.create_task(self._disk.grow(self._bytes_per_s))

    async def end(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._disk.empty()


@pytest.mark.parametrize(
    ("code", "full_in_h"),
    [("disk_fills", 7.0), ("disk_fills_fast", 0.5)],
)
@raises("disk_fills", "disk_fills_fast")
async def test_a_disk_that_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, full_in_h: float
) -> None:
    # An hour's trend within a second and a half; nothing of the size is used until it is written.
    monkeypatch.setattr(host_measure, "WINDOW_S", 1.5)
    monkeypatch.setattr(host_measure, "LEAST_S", 0.5)
    monkeypatch.setattr(host_measure, "SPACING_S", 0.02)
    disk = SmallDisk(tmp_path / "large", "10g")
    filling = Filling(disk, full_in_h, 10 << 30)
    operator = Operator({"host": reader(disk.path).readings}, "disk_fills", "disk_fills_fast")
    try:
        await operator.shows(code, fault=filling.begin, mend=filling.end)
    finally:
        disk.close()


class Tables:
    """The kernel's tables of another machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ticks = {"busy": 0, "idle": 0}
        self.busy = 0.1
        self.write()

    def write(self, *, load: float = 0.5, available: int = 600, swap_free: int = 400) -> None:
        """Memory and swap in kB, of 1000 and 400."""
        tables = {
            "meminfo": f"MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: {available} kB\n"
            "Buffers: 0 kB\nCached: 0 kB\nActive: 0 kB\nInactive: 0 kB\nShmem: 0 kB\n"
            f"SwapTotal: 400 kB\nSwapFree: {swap_free} kB\n",
            "loadavg": f"{load:.2f} 0.50 0.50 2/300 4711\n",
            "vmstat": "pswpin 0\npswpout 0\n",
        }
        for name, text in tables.items():
            (self._folder / name).write_text(text)
        self.tick()

    def tick(self) -> None:
        """Let time pass, of which the CPUs are busy for the share `busy`."""
        self._ticks["busy"] += int(1000 * self.busy)
        self._ticks["idle"] += int(1000 * (1 - self.busy))
        cpu = f"{self._ticks['busy']} 0 0 {self._ticks['idle']} 0 0 0 0 0 0"
        (self._folder / "stat").write_text(f"cpu  {cpu}\ncpu0 {cpu}\nbtime 1\n")


class OtherMachine:
    """Read like any other."""

    def __init__(self, folder: Path) -> None:
        self.tables = Tables(folder)
        use_procfs(str(folder))
        self._machine = Machine(HostSampler(()), ignore)

    async def readings(self) -> list[Reading]:
        self.tables.tick()
        return await self._machine.readings()

    def work(self, share: float) -> None:
        self.tables.busy = share


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[OtherMachine]:
    yield OtherMachine(tmp_path)
    use_procfs("/proc")


OF_THE_MACHINE = ("cpu_high", "load_high", "memory_high", "memory_full", "swap_high")


def watching(machine: OtherMachine) -> Operator:
    return Operator({"host": machine.readings}, *OF_THE_MACHINE)


@raises("cpu_high")
async def test_cpus_that_are_busy_for_minutes(machine: OtherMachine) -> None:
    await watching(machine).shows(
        "cpu_high", fault=lambda: machine.work(0.97), mend=lambda: machine.work(0.2)
    )


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("load_high", {"load": 500.0}),
        ("memory_high", {"available": 80}),
        ("memory_full", {"available": 20}),
        ("swap_high", {"swap_free": 100}),
    ],
)
@raises("load_high", "memory_high", "memory_full", "swap_high")
async def test_a_machine_in_trouble(
    machine: OtherMachine, code: str, trouble: dict[str, float]
) -> None:
    await watching(machine).shows(
        code,
        fault=lambda: machine.tables.write(**trouble),  # type: ignore[arg-type]
        mend=machine.tables.write,
    )


class WrongClocks:
    """Venues whose clocks are behind ours by `behind_ms`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.behind_ms = 0
        application = web.Application()
        application.router.add_get("/{host}/{path:.*}", self._time)
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    def be(self, behind_ms: int) -> None:
        self.behind_ms = behind_ms

    async def _time(self, _: web.Request) -> web.Response:
        return web.json_response({"serverTime": time.time_ns() // 1_000_000 - self.behind_ms})


@pytest.fixture
async def clocks() -> AsyncIterator[WrongClocks]:
    clocks = WrongClocks()
    await clocks.start()
    yield clocks
    await clocks.stop()


@pytest.mark.parametrize(
    ("code", "behind_ms"), [("clock_off", 600), ("clock_off", -600), ("clock_wrong", 5000)]
)
@raises("clock_off", "clock_wrong")
async def test_a_clock_that_is_off(clocks: WrongClocks, code: str, behind_ms: int) -> None:
    venues = [venue for venue in VENUES if venue.name.startswith("BINANCE")]
    clock = Clock(f"http://127.0.0.1:{clocks.port}", venues)
    operator = Operator({"clock": clock.readings}, "clock_off", "clock_wrong")
    await operator.shows(code, fault=lambda: clocks.be(behind_ms), mend=lambda: clocks.be(0))


def backup(folder: Path, hours_ago: float) -> None:
    made = datetime.now(UTC) - timedelta(hours=hours_ago)
    (folder / f"squeezeflow-{made:%Y%m%dT%H%M%SZ}").mkdir()


@raises("backup_old")
async def test_a_backup_that_is_old(tmp_path: Path) -> None:
    backup(tmp_path, 27)
    operator = Operator({"backup": Backups(str(tmp_path)).readings}, "backup_old", "backup_missing")
    await operator.shows(
        "backup_old", fault=nothing, mend=lambda: backup(tmp_path, 0), well_before=False
    )


@raises("backup_missing")
async def test_a_backup_that_is_missing(tmp_path: Path) -> None:
    operator = Operator(
        {"backup": Backups(str(tmp_path)).readings}, "backup_old", "backup_missing", step_s=300
    )
    await operator.shows(
        "backup_missing", fault=nothing, mend=lambda: backup(tmp_path, 0), well_before=False
    )
