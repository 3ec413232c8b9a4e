"""Every generated password is replaced in the running stack, and no bar is lost over it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.stack import secret_files
from scripts.stack.compose import Project
from tests.stack.conftest import BIND_ADDRESS, ROOT, Script

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]

PROJECT = Project(ROOT, True, {"BIND_ADDRESS": BIND_ADDRESS})


def secrets() -> dict[str, str]:
    return {name: (ROOT / "secrets" / name).read_text().strip() for name in secret_files.NAMES}


@pytest.mark.usefixtures("demo")
def test_all_secrets_are_replaced_and_every_bar_is_still_exact(
    script: Script, tmp_path: Path
) -> None:
    before = secrets()

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

    report = tmp_path / "report.json"
    checked = script("up.sh", "--demo", "--docker", "--check", "--json", str(report))
    assert checked.returncode == 0, checked.stderr
    document = json.loads(report.read_text())
    assert document["bars_compared"] > 0
    assert document["bars_mismatched"] == 0
