from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts.stack import venv
from scripts.stack.running import StackError


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Installations asked for, instead of being done."""
    found: list[str] = []
    monkeypatch.setattr(venv, "_works", lambda folder: folder.exists())

    def with_uv(folder: Path, *_: object) -> None:
        folder.mkdir(exist_ok=True)
        found.append("uv")

    monkeypatch.setattr(venv, "_with_uv", with_uv)
    monkeypatch.setattr(venv, "_with_pip", lambda *_: found.append("pip"))
    return found


def _requirements(tmp_path: Path, text: str = "a==1\n") -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text(text)
    return path


def _ensure(tmp_path: Path, text: str = "a==1\n") -> bool:
    said: list[str] = []
    return venv.ensure(tmp_path / "venv", _requirements(tmp_path, text), said.append)


def test_installs_once_for_one_content(tmp_path: Path, calls: list[str]) -> None:
    assert _ensure(tmp_path) is True
    assert _ensure(tmp_path) is False
    assert calls == ["uv"]


def test_installs_again_when_the_pins_change(tmp_path: Path, calls: list[str]) -> None:
    _ensure(tmp_path)
    assert _ensure(tmp_path, "a==2\n") is True
    assert calls == ["uv", "uv"]


def test_falls_back_to_pip(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(folder: Path, *_: object) -> None:
        folder.mkdir()
        raise subprocess.CalledProcessError(2, "uv", output="error: no wheel")

    monkeypatch.setattr(venv, "_with_uv", fails)
    assert _ensure(tmp_path) is True
    assert calls == ["pip"]


def test_an_interrupted_installation_is_done_again(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _ensure(tmp_path)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(venv, "_with_uv", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _ensure(tmp_path, "a==2\n")
    assert _ensure(tmp_path) is True
    assert calls == ["uv", "uv"]


def test_names_cause_and_remedy_when_neither_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise subprocess.CalledProcessError(1, "pip", output="x\nERROR: No route to host\n")

    monkeypatch.setattr(venv, "_works", lambda folder: False)
    monkeypatch.setattr(venv, "_with_uv", fails)
    monkeypatch.setattr(venv, "_with_pip", fails)
    with pytest.raises(StackError, match=r"No route to host.*pypi\.org"):
        _ensure(tmp_path)


def test_a_python_without_venv_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise subprocess.CalledProcessError(1, "venv", output="ensurepip is not available")

    monkeypatch.setattr(venv, "_works", lambda folder: False)
    monkeypatch.setattr(venv, "_with_uv", fails)
    monkeypatch.setattr(venv, "_with_pip", fails)
    with pytest.raises(StackError, match=r"python3.*-venv"):
        _ensure(tmp_path)
