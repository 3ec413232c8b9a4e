"""What the live page is made of: locked files, no inline code, the palette of the reports."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
ASSETS = ROOT / "services" / "dashboard" / "assets"
SHARED = ROOT / "services" / "web" / "assets"
FOLDERS = (ASSETS, ROOT / "tests" / "browser" / "vendored")
MOST_LINES = 400


def locked(folder: Path) -> dict[str, Any]:
    """Package, version, licence and files as they were taken over."""
    found: dict[str, Any] = json.loads((folder / "vendored.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_vendored_files_are_those_of_the_locked_version(folder: Path) -> None:
    lock = locked(folder)
    assert lock["version"] in lock["source"]
    for name, file in lock["files"].items():
        digest = hashlib.sha512((folder / name).read_bytes()).digest()
        assert file["integrity"] == f"sha512-{base64.b64encode(digest).decode()}", name
    assert any("LICENSE" in name for name in lock["files"])


@pytest.mark.parametrize("name", ["index.html", "login.html"])
def test_pages_have_no_code_or_style_of_their_own_and_load_only_what_is_here(name: str) -> None:
    text = (ASSETS / name).read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    loaded = re.findall(r'(?:src|href)="([^"#]+)"', text)
    for address in loaded:
        if address.startswith(("data:", "https://www.tradingview.com/")):
            continue
        file = address.removeprefix("/assets/")
        assert file != address, address
        assert (ASSETS / file).exists() or (SHARED / file).exists(), address


def test_every_module_that_is_imported_exists_and_is_used() -> None:
    modules = {path.name: path.read_text(encoding="utf-8") for path in ASSETS.glob("*.js")}
    used = {"live.js", "login.js"}
    for name, text in modules.items():
        for imported in re.findall(r'from "\./([\w.]+)"', text):
            assert imported in modules, f"{name} imports {imported}"
            used.add(imported)
    assert used == set(modules)


def test_files_are_short() -> None:
    for path in ASSETS.iterdir():
        if path.suffix in (".js", ".css", ".html"):
            assert len(path.read_text(encoding="utf-8").splitlines()) < MOST_LINES, path.name


def test_the_palette_is_that_of_the_reports() -> None:
    own = (ASSETS / "live.css").read_text(encoding="utf-8")
    reports = (SHARED / "page.css").read_text(encoding="utf-8")
    for name in ("back", "panel", "raised", "line", "text", "soft", "faint", "up", "down", "warn"):
        found = re.search(rf"--{name}: #\w+;", own)
        assert found is not None
        assert found[0] in reports


def test_text_from_outside_never_becomes_markup() -> None:
    for path in ASSETS.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(inner|outer|Adjacent)HTML|document\.write|\beval\(", text)
