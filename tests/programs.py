"""Commands that stand in for those of the machine."""

from __future__ import annotations

from pathlib import Path


def program(path: Path, does: str) -> Path:
    """Make `path` a command whose lines of shell are `does`; returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return path
