"""Digests of the public images: read, asked for, and what is pulled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.stack import images, pins
from scripts.stack.running import StackError
from tests.programs import program

ROOT = Path(__file__).resolve().parents[4]
OLD, NEW = (f"sha256:{digit * 64}" for digit in "12")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docker").mkdir()
    lock = tmp_path / pins.LOCK
    lock.write_text(f"# head\nredis:7-alpine {OLD}\npython:3.13-slim\n", encoding="utf-8")
    return tmp_path


def test_an_image_without_a_digest_is_pulled_by_its_tag(root: Path) -> None:
    digests = pins.read(root)

    assert pins.reference("redis:7-alpine", digests) == f"redis@{OLD}"
    assert pins.reference("python:3.13-slim", digests) == "python:3.13-slim"
    assert pins.reference("host:5000/x:1", {"host:5000/x:1": OLD}) == f"host:5000/x@{OLD}"


def test_what_is_pulled_by_digest_gets_the_tag_the_files_know(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(images, "docker", lambda *words, **_: calls.append(words))

    images._pull("redis:7-alpine", pins.read(root))

    assert calls == [
        ("pull", "--quiet", f"redis@{OLD}"),
        ("tag", f"redis@{OLD}", "redis:7-alpine"),
    ]


def test_pinning_fills_in_what_is_missing_and_leaves_the_rest(root: Path) -> None:
    changed = pins.pin(root, upgrade=False, asked=lambda _: NEW)

    assert changed == [f"python:3.13-slim: unknown -> {NEW}"]
    assert pins.read(root) == {"redis:7-alpine": OLD, "python:3.13-slim": NEW}
    assert (root / pins.LOCK).read_text().startswith("# head\n")


def test_upgrading_asks_for_all_of_them(root: Path) -> None:
    pins.pin(root, upgrade=True, asked=lambda _: NEW)

    assert set(pins.read(root).values()) == {NEW}


def test_a_registry_that_answers_for_some_only_changes_nothing(root: Path) -> None:
    before = (root / pins.LOCK).read_text()

    def asked(image: str) -> str:
        if image.startswith("python"):
            raise StackError("no answer")
        return NEW

    with pytest.raises(StackError):
        pins.pin(root, upgrade=True, asked=asked)
    assert (root / pins.LOCK).read_text() == before


def test_a_damaged_line_is_named(root: Path) -> None:
    (root / pins.LOCK).write_text("redis:7-alpine sha256:short\n")

    with pytest.raises(StackError, match="line 1"):
        pins.read(root)


def test_the_lock_has_every_public_image_and_no_other() -> None:
    used: set[str] = set()
    for path in ROOT.glob("docker-compose*.yml"):
        used |= set(re.findall(r"^    image: ([^$\s]+)$", path.read_text(), re.M))
    for path in (*ROOT.glob("docker/Dockerfile.*"), ROOT / "aggr-server/Dockerfile"):
        used |= set(re.findall(r"^FROM ([^\s$]+)", path.read_text(), re.M))
    assert pins.read(ROOT).keys() == used


@pytest.mark.parametrize(
    ("answers", "status", "said"),
    [
        (NEW, 0, f"python:3.13-slim: unknown -> {NEW}"),
        ("denied", 1, "the registry answers 'denied' instead of a digest"),
    ],
)
def test_the_command_asks_the_registry_and_writes_nothing_it_does_not_know(
    answers: str,
    status: int,
    said: str,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pins, "ROOT", root)
    monkeypatch.setenv("PATH", str(program(root / "bin" / "docker", f"echo {answers}").parent))
    before = (root / pins.LOCK).read_text()

    assert pins.main([]) == status

    told = capsys.readouterr()
    assert said in told.out + told.err
    assert ((root / pins.LOCK).read_text() == before) is bool(status)
    if not status:
        assert pins.main([]) == 0
        assert capsys.readouterr().out == "Every image has its digest.\n"
