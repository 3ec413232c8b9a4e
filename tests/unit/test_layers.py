"""Imports point downwards only, as docs/architecture.md draws it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RANKS = {
    "core": 0, "strategy": 0, "web": 0,
    "market": 1, "notify": 1, "simulator": 1,
    "monitor": 2, "oi": 2, "trading": 2,
    "backtest": 3, "dashboard": 3, "explain": 3,
}  # fmt: skip
"""Package of services -> how high it stands; one imports from lower ones alone."""


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def _packages() -> list[str]:
    return sorted(path.parent.name for path in (ROOT / "services").glob("*/__init__.py"))


def test_every_package_has_its_rank() -> None:
    assert _packages() == sorted(RANKS)


@pytest.mark.parametrize("package", sorted(RANKS))
def test_a_package_imports_from_lower_ones_alone(package: str) -> None:
    wrong = []
    for path in (ROOT / "services" / package).rglob("*.py"):
        for module in _imports(path):
            parts = module.split(".")
            other = parts[1] if parts[0] == "services" and len(parts) > 1 else package
            if other in RANKS and other != package and RANKS[other] >= RANKS[package]:
                wrong.append(f"{path.relative_to(ROOT)}: {module}")
    assert wrong == []


def test_the_collector_imports_nothing_of_the_services() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "aggr-server").rglob("*.py")
        if any(module.split(".")[0] in ("services", "scripts") for module in _imports(path))
    ]
    assert wrong == []
