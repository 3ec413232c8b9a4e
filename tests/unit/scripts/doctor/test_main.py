from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.doctor.__main__ import look
from scripts.doctor.findings import Finding, Group
from scripts.doctor.site import Site

GROUP = Group("G")


def well(_: Site) -> Iterator[Finding]:
    yield GROUP.ok("one", "1")


def broken(_: Site) -> Iterator[Finding]:
    yield GROUP.ok("two", "2")
    raise RuntimeError("nobody thought of this")


def test_a_check_that_hangs_keeps_nothing_back(tmp_path: Path) -> None:
    let_go = threading.Event()

    def hangs(_: Site) -> Iterator[Finding]:
        yield GROUP.ok("three", "3")
        let_go.wait(60)

    began = time.monotonic()
    found = look(Site(tmp_path), {"slow": ("H", hangs), "well": ("G", well)}, patience_s=0.2)
    let_go.set()
    assert time.monotonic() - began < 30
    assert [(f.group, f.name, f.state) for f in found] == [
        ("G", "three", "ok"),
        ("H", "slow", "warn"),
        ("G", "one", "ok"),
    ]


def test_a_check_that_fails_is_told_and_hides_no_other(tmp_path: Path) -> None:
    found = look(Site(tmp_path), {"broken": ("G", broken), "well": ("G", well)}, patience_s=30)
    assert [(f.name, f.state) for f in found] == [("two", "ok"), ("doctor", "warn"), ("one", "ok")]
    assert "nobody thought of this" in found[1].found
