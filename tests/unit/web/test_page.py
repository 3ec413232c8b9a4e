from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.web import page as module
from services.web.document import Document, Figure
from services.web.page import SCRIPTS, embedded, page

ASSETS = Path(module.__file__).parent / "assets"
VENDORED: dict[str, Any] = json.loads((ASSETS / "vendored.json").read_text(encoding="utf-8"))


def document(**changes: Any) -> Document:
    values: dict[str, Any] = {
        "title": "Title",
        "subtitle": "subtitle",
        "said": [],
        "figures": [],
        "markets": [],
        "tables": [],
    }
    return Document(**{**values, **changes})


@pytest.mark.parametrize("name", sorted(VENDORED["files"]))
def test_vendored_files_are_those_of_the_locked_version(name: str) -> None:
    digest = hashlib.sha512((ASSETS / name).read_bytes()).digest()
    assert VENDORED["files"][name]["integrity"] == f"sha512-{base64.b64encode(digest).decode()}"


def test_the_locked_version_is_the_one_that_is_used() -> None:
    banner = (ASSETS / module.LIBRARY).read_text(encoding="utf-8")[:300]
    assert f"v{VENDORED['version']}" in banner
    assert VENDORED["license"] == "Apache-2.0"
    assert "Apache License" in (ASSETS / "lightweight-charts.LICENSE").read_text(encoding="utf-8")


def test_the_page_loads_nothing_and_runs_its_own_scripts_only() -> None:
    text = page(document())
    assert not re.search(r"<(script|img|iframe|link)[^>]+(src|href)=[\"']?(https?:|//)", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[1]


def test_every_script_is_in_the_page() -> None:
    text = page(document())
    for name in SCRIPTS:
        assert (ASSETS / name).read_text(encoding="utf-8") in text


@pytest.mark.parametrize("evil", ["</script><script>", "<!--", "&amp;", "\u2028", "]]>"])
def test_embedded_text_cannot_end_the_script(evil: str) -> None:
    found = embedded(document(warnings=[evil]))
    assert not set("<>&\u2028\u2029") & set(found)
    assert msgspec.json.decode(found)["warnings"] == [evil]


def test_text_outside_the_script_is_escaped() -> None:
    text = page(document(title="<b>", subtitle='"x"', said=["<i>"], verdict="<u>", credit="<s>"))
    body = text[: text.index('<script type="application/json"')]
    for tag in ("<b>", "<i>", "<u>", "<s>"):
        assert tag not in body


def test_the_library_is_credited_as_its_licence_asks() -> None:
    text = page(document())
    assert "TradingView Lightweight Charts" in text
    assert 'href="https://www.tradingview.com/"' in text


def test_a_figure_that_is_not_defined_stays_so() -> None:
    found = embedded(document(figures=[Figure("Sharpe", None, "num")]))
    assert msgspec.json.decode(found)["figures"][0]["value"] is None
