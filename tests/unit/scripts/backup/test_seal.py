"""Only a key that nobody guesses encrypts, and it shows nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.backup.errors import BackupError
from scripts.backup.seal import Key

TEXT = "0123456789abcdef" * 2


@pytest.mark.parametrize("text", ["", "short", f"{TEXT}\n{TEXT}"])
def test_a_bad_key_is_refused_with_the_way_to_a_good_one(text: str) -> None:
    with pytest.raises(BackupError, match="openssl rand -hex 32"):
        Key.of(text, "a test")


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="cannot be read"):
        Key.read(tmp_path / "none")


def test_the_key_is_not_shown() -> None:
    assert TEXT not in repr(Key.of(TEXT, "a test"))


def test_a_signature_is_of_the_text_and_of_the_key() -> None:
    key = Key.of(TEXT, "a test")

    assert key.sign(b"a") == Key.of(f"{TEXT}\n", "a test").sign(b"a")
    assert key.sign(b"a") != key.sign(b"b")
    assert key.sign(b"a") != Key.of(TEXT[::-1], "a test").sign(b"a")
