"""Every generated password is replaced in the running stack, and no bar is lost over it."""

from __future__ import annotations

from time import monotonic, sleep

import pytest

from scripts.stack import containers, secret_files
from scripts.stack.audit import Audit
from scripts.stack.compose import Project
from scripts.stack.evidence import Evidence
from tests.stack.conftest import BIND_ADDRESS, ROOT, Script

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]

RECOVERED_WITHIN_S = 120.0
PROJECT = Project(ROOT, True, {"BIND_ADDRESS": BIND_ADDRESS})


def bars() -> Audit:
    """What is stored against the exchanges' own lists of trades, from the beginning."""
    stack = containers.running(ROOT)
    assert stack is not None
    return Evidence(stack.environ).audit()


def secrets() -> dict[str, str]:
    return {name: (ROOT / "secrets" / name).read_text().strip() for name in secret_files.NAMES}


@pytest.mark.usefixtures("demo")
def test_all_secrets_are_replaced_and_every_bar_is_still_exact(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIND_ADDRESS", BIND_ADDRESS)
    before, stored = secrets(), bars()

    done = script("rotate_secrets.sh", "all")

    assert done.returncode == 0, done.stderr
    after = secrets()
    assert all(after[name] != before[name] for name in before)
    assert {c.verdict for c in PROJECT.containers()} == {"healthy"}
    for password, taken in ((before["redis_password"], False), (after["redis_password"], True)):
        ping = ("exec", "-T", "-e", f"REDISCLI_AUTH={password}", "redis", "redis-cli", "ping")
        assert ("PONG" in PROJECT.run(*ping).splitlines()) is taken
    text = done.stdout + done.stderr + PROJECT.run("logs", "--no-color")
    assert [name for name in before if before[name] in text or after[name] in text] == []

    deadline = monotonic() + RECOVERED_WITHIN_S
    while (audit := bars()).mismatched or audit.compared < stored.compared + 60:
        assert monotonic() < deadline, (audit.compared, audit.mismatches)
        sleep(2)
