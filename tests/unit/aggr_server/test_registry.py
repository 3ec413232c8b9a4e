"""The documents on exchanges against the registry."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

from aggr_server import exchanges
from aggr_server.exchanges.base import Adapter, Window
from aggr_server.exchanges.closed import CLOSED
from tests.unit.aggr_server.exchanges import fixture_files

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
_KINDS = ("spot", "perp", "future")


def _rows() -> dict[str, list[str]]:
    lines = (DOCS / "exchanges.md").read_text(encoding="utf-8").splitlines()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line[:2] == "| "]
    return {row[0]: row[1:] for row in rows[1:]}


def test_the_table_lists_exactly_the_registry() -> None:
    assert list(_rows()) == list(exchanges.known())


def test_the_table_says_what_each_adapter_does() -> None:
    for name, (aliases, kinds, liquidations, recovery, _) in _rows().items():
        venue = fixture_files.of(name)
        adapter = venue.adapter
        assert aliases == ", ".join(adapter.aliases), name
        listed = {i.kind for i in venue.instruments}
        assert kinds == ", ".join(kind for kind in _KINDS if kind in listed), name
        carried = {kind for channel in adapter.channels.values() for kind in channel.carries}
        assert bool(liquidations) == ("liquidations" in carried), name
        told = [adapter.past(i, Window(0, 1000)) for i in venue.instruments]
        assert recovery in ("all", "newest", "none"), name
        assert (recovery != "none") == any(request is not None for request in told), name


def test_closed_exchanges_are_listed_with_their_days() -> None:
    text = (DOCS / "exchanges.md").read_text(encoding="utf-8")
    for name, day in CLOSED.items():
        assert f"{name} ({day})" in text


def test_the_walk_names_every_hook_and_files_that_exist() -> None:
    text = (DOCS / "adding-an-exchange.md").read_text(encoding="utf-8")
    hooks = [n for n, _ in inspect.getmembers(Adapter, inspect.isfunction) if n[0] != "_"]
    for hook in hooks:
        assert f"`{hook}`" in text, hook
    folder = ROOT / "aggr-server/aggr_server/exchanges"
    for file in re.findall(r"`(?:exchanges/)?([a-z_]+\.py)`", text):
        assert (folder / file).is_file(), file


def test_no_other_file_knows_an_exchange_by_name() -> None:
    names = {text for name in exchanges.known() for text in (name, name.lower())}
    package = ROOT / "aggr-server/aggr_server"
    found = [
        f"{path.name}:{node.lineno}"
        for path in sorted(package.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
    ]
    assert not found
