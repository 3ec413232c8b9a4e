from __future__ import annotations

from pathlib import Path

import pytest

from scripts.stack import dotenv
from scripts.stack.running import StackError


def _read(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / ".env"
    path.write_text(text)
    return dotenv.read(path)


def test_no_file_means_no_settings(tmp_path: Path) -> None:
    assert dotenv.read(tmp_path / ".env") == {}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=value", "value"),
        ("  KEY=value  ", "value"),
        ("export KEY=value", "value"),
        ("KEY=", ""),
        ("KEY=a=b", "a=b"),
        ("KEY=value # said why", "value"),
        ("KEY=a#b", "a#b"),
        ("KEY= # empty", ""),
        ('KEY="a # b"', "a # b"),
        ("KEY='a b' # c", "a b"),
    ],
)
def test_reads_a_value_as_compose_does(tmp_path: Path, line: str, value: str) -> None:
    assert _read(tmp_path, f"# comment\n\n{line}\n") == {"KEY": value}


@pytest.mark.parametrize(
    "line", ["JUST TEXT", "MY KEY=1", "KEY =1", "3KEY=1", 'KEY="open', "KEY='a' b"]
)
def test_names_the_line_that_is_wrong(tmp_path: Path, line: str) -> None:
    with pytest.raises(StackError, match=r"\.env line 2: "):
        _read(tmp_path, f"GOOD=1\n{line}\n")


def test_names_all_wrong_lines_and_shows_no_value(tmp_path: Path) -> None:
    with pytest.raises(StackError) as caught:
        _read(tmp_path, "A B=topsecret\nC\nD=1\n")
    text = str(caught.value)
    assert "line 1" in text
    assert "line 2" in text
    assert len(text.splitlines()) == 2
    assert "topsecret" not in text
