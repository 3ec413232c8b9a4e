"""docs/settings.md says what `.env.example` and the settings classes say."""

from __future__ import annotations

import re

from scripts.settings_doc import ROOT, TARGET, blocks, document, readers
from scripts.stack.settings import setting_names

EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")


def test_the_document_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == document(EXAMPLE)


def test_every_setting_is_in_it_once() -> None:
    named = re.findall(r"^\| `([A-Z0-9_]+)` \|", TARGET.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(named) == len(set(named))
    assert {name for name in setting_names() if not name.endswith("_FILE")} <= set(named)


def test_every_setting_of_a_class_has_a_reader() -> None:
    assert [name for name, found in readers().items() if not found] == []


def test_settings_explained_together_share_the_text() -> None:
    example = "# ---- Some -----\n\n# What it is,\n# in two lines.\n#A=1\n#B=\n"
    (block,) = blocks(example)
    assert block == ("Some", "What it is, in two lines.", [("A", "1"), ("B", "")])
