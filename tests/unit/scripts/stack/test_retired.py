from __future__ import annotations

from pathlib import Path

from scripts.stack import retired
from scripts.stack.dotenv import read

ROOT = Path(__file__).resolve().parents[4]


def test_only_what_is_given_and_has_retired_is_told() -> None:
    (line,) = retired.lines(["PORT", "ALERT_DOWN_S", "NEVER_WAS"])
    assert line.startswith("ALERT_DOWN_S in .env does nothing any more. Instead: ")
    assert "service_down" in line


def test_the_example_has_none_of_them() -> None:
    text = (ROOT / ".env.example").read_text()
    assert [name for name in retired.RETIRED if f"{name}=" in text] == []
    assert retired.lines(read(ROOT / ".env.example")) == []
