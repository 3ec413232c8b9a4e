"""Chromium for the tests of the pages: from PATH, or else from Debian's packages in `.local/`."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from scripts.stack import debian
from scripts.stack.progress import Progress
from scripts.stack.running import StackError

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium-headless-shell",)
PROGRAMS = {"chromium-headless-shell": "usr/lib/chromium/chromium-headless-shell"}
START_TIMEOUT_S = 60


def find(local: Path) -> str | None:
    """The program from PATH, or the one fetched earlier; None if neither runs."""
    fetched = str(local / "chromium" / "bin" / NAMES[0])
    candidates = [found for name in NAMES if (found := shutil.which(name))]
    return next((program for program in (*candidates, fetched) if _runs(program)), None)


def ensure(local: Path, progress: Progress) -> str:
    """As `find`, fetching it (about 100 MB) if it is missing. Raises `StackError` with a remedy."""
    if program := find(local):
        return program
    folder = local / "chromium"
    try:
        debian.fetch(folder, PACKAGES, PROGRAMS, "chromium", progress)
    except debian.NotFetched as error:
        raise StackError(_remedy(str(error))) from error
    program = find(local)
    if program is None:
        raise StackError(_remedy("the packages fetched do not run on this machine"))
    debian.tidy(folder)
    return program


def _runs(program: str) -> bool:
    # `--version` alone does not load what a page needs.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        try:
            done = subprocess.run(
                [program, *arguments, "--dump-dom", "data:text/html,<p>ready</p>"],
                capture_output=True,
                timeout=START_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    return b"<p>ready</p>" in done.stdout


def _remedy(cause: str) -> str:
    return (
        f"Chromium is not in PATH and could not be fetched: {cause}. The tests of the pages need "
        "it: install chromium by this machine's own means (Debian: apt-get install chromium), so "
        "that it is in PATH; then try again."
    )
