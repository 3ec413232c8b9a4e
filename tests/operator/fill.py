"""The words of commands that their reader replaces, taken from what is there."""

from __future__ import annotations

import gzip
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from aggr_server.env import load
from scripts.stack.evidence import Evidence
from scripts.stack.native import running
from services.core.settings import BackupSettings
from tests.operator.place import Place

FIXTURES = Path(__file__).resolve().parents[1] / "unit"
FIRST_SIGNAL_S = 400.0


def fill(place: Place, command: str) -> str:
    """The command as it is typed here; makes the files that it names."""
    words = "|".join(sorted(map(re.escape, FILLED), key=len, reverse=True))
    return re.sub(rf"(?<![\w.-])({words})(?![\w.])", lambda found: FILLED[found[1]](place), command)


def _signal(place: Place) -> str:
    """The demo's first one."""
    stack = running(place.root)
    assert stack is not None
    evidence, deadline = Evidence(stack.environ), time.monotonic() + FIRST_SIGNAL_S
    while not (recorded := evidence.story().outcomes):
        assert time.monotonic() < deadline, "the demo gives no signal"
        time.sleep(2)
    return next(iter(recorded))


def _backup(place: Place) -> str:
    """The newest one; made now if there is none."""
    folder = place.root / load(BackupSettings, {}).backup_dir
    if not (found := sorted(folder.glob("squeezeflow-*"))):
        place.must("./scripts/backup_volumes.sh")
        found = sorted(folder.glob("squeezeflow-*"))
    return str(found[-1].relative_to(place.root))


def _encrypted(place: Place) -> str:
    """A file of a backup that was made since there is a key."""
    if not list((place.root / _backup(place)).rglob("*.enc")):
        place.must("./scripts/backup_volumes.sh")
    return str(next((place.root / _backup(place)).rglob("*.enc")))


def _key(place: Place) -> str:
    copy = place.root.parent / "key"
    shutil.copy(place.root / "secrets" / "backup_key", copy)
    return str(copy)


def _container(place: Place) -> str:
    return place.must("docker ps -q -f name=oi-tracker").strip()


def _packed(source: Path) -> Callable[[Place], str]:
    """A compressed copy of a file of the tests."""

    def made(place: Place) -> str:
        copy = place.root.parent / f"{source.stem}.gz"
        copy.write_bytes(gzip.compress(source.read_bytes()))
        return str(copy)

    return made


def _trades(market: str, file: str) -> Callable[[Place], str]:
    """The same, whose name tells the market."""

    def made(place: Place) -> str:
        copy = place.root / f"{market}.csv.gz"
        copy.write_bytes(gzip.compress((FIXTURES / "backtest/fixtures" / file).read_bytes()))
        return copy.name

    return made


FILLED: Mapping[str, Callable[[Place], str]] = {
    "SIGNAL_ID": _signal,
    "BINANCE-SPOT_TRXUSDT.csv.gz": _trades(
        "BINANCE-SPOT_TRXUSDT", "BINANCE-SPOT_TRXUSDT_20250304.csv"
    ),
    "BINANCE-USDM_TRXUSDT.csv.gz": _trades(
        "BINANCE-USDM_TRXUSDT", "BINANCE-COINM_TRXUSD-PERP_20250304.csv"
    ),
    "BACKUP": _backup,
    "FOLDER": _backup,
    "KEY": _key,
    "FILE.enc": _encrypted,
    "FILE": lambda _: "unpacked",
    "NAME": lambda _: "test_every_proof_is_a_test_of_this_project",
    "RECORDING.gz": _packed(FIXTURES / "aggr_server/exchanges/fixtures/coinbase/frames.jsonl"),
    "CONTAINER": _container,
    "SERVICE": lambda _: "strategy-runner",
}
"""Word -> what stands in its place, once it is there."""
