"""I1, I4: on a computer with two processors and 4 GB, from the clone on and after a power cut."""

from __future__ import annotations

import grp
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, time

import pytest

from scripts.stack import images
from tests.accounting import problems, stored_bars
from tests.integration.clones import clone_into
from tests.stack.conftest import ROOT
from tests.stack.host import Host
from tests.stack.machine import Machine, until

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(2400)]

MEMORY_BYTES = 4 * 2**30
STARTED_WITHIN_S = 300.0
BACK_WITHIN_S = 120.0
COLLECTED_WITHIN_S = 300.0
OPERATOR = 4711
"""A user who may use the engine, and nothing else."""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Switched on; the public images are there, as after a pull."""
    with tempfile.TemporaryDirectory(prefix="host-") as folder:
        os.chmod(folder, 0o755)
        made = Host(Path(folder), memory_bytes=MEMORY_BYTES, processors=2)
        try:
            made.start()
            made.load(name for name, kind in images.kinds(ROOT).items() if kind != "missing")
            yield made
            print(f"at most {made.most_memory_bytes() / 2**30:.2f} GB of memory used")
        finally:
            made.remove()


def typed(host: Host, user: int, root: Path, command: str) -> None:
    """Type `command` as that user with umask 077, in the clone at `root`."""
    group = grp.getgrnam("docker").gr_gid
    who = ("setpriv", f"--reuid={user}", f"--regid={user}", f"--groups={group}")
    done = subprocess.run(
        [*host.inside(), *who, "bash", "-c", f"umask 077 && cd {root} && {command}"],
        env={"PATH": os.environ["PATH"], "HOME": str(root.parent)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("user", [OPERATOR, 0], ids=["user", "root"])
def test_i1_from_the_clone_to_all_healthy_in_five_minutes(host: Host, user: int) -> None:
    root = clone_into(host.folder / f"home-{user}" / "clone")
    shutil.rmtree(root / ".local")
    for path in (root.parent, *root.parent.rglob("*")):
        os.chown(path, user, user)
        path.chmod(path.stat().st_mode & 0o700)

    began = monotonic()
    typed(host, user, root, "./scripts/up.sh --demo --docker")
    took_s = monotonic() - began

    print(f"healthy {took_s:.0f} s after the clone, {host.most_memory_bytes() / 2**30:.2f} GB")
    typed(host, user, root, "python3 scripts/health_check.py")
    typed(host, user, root, "./scripts/down.sh")
    assert took_s < STARTED_WITHIN_S


@pytest.fixture
def machine(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setenv("DOCKER_HOST", host.engine)
    made = Machine(host.folder / "clone", ("docker-compose.demo.yml",), host)
    yield made
    made.remove()


def test_i4_after_a_power_cut_the_engine_brings_all_back_within_two_minutes(
    host: Host, machine: Machine
) -> None:
    machine.script("up.sh", "--docker")
    evidence = machine.evidence()
    until(lambda: bool(evidence.story().opened), COLLECTED_WITHIN_S)
    now_s, traded = int(time()), evidence.story().opened.keys()
    known = stored_bars(evidence, now_s)

    host.cut_the_power()
    began = monotonic()
    host.start()
    until(
        lambda: {c.verdict for c in machine.project.containers()} == {"healthy"},
        BACK_WITHIN_S,
        lambda: {c.service: c.verdict for c in machine.project.containers()},
    )
    took_s = monotonic() - began

    print(f"healthy {took_s:.0f} s after power came back, {len(known)} bars stored before")
    assert took_s < BACK_WITHIN_S
    assert known <= stored_bars(evidence, now_s)
    assert traded <= evidence.story().opened.keys()
    until(lambda: not problems(evidence), COLLECTED_WITHIN_S, lambda: problems(evidence))
    audit = evidence.audit()
    assert audit.compared > 0
    assert audit.mismatches == []
