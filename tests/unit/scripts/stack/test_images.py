"""Whether images are to be fetched or built before single containers are run."""

from __future__ import annotations

import pytest

from scripts.stack import images
from scripts.stack.running import StackError

CONFIG = {"services": {"redis": {"image": "redis:7-alpine"}, "backup": {"image": "ours:1"}}}


def test_images_are_missing_if_the_engine_lacks_any(monkeypatch: pytest.MonkeyPatch) -> None:
    present = {"redis:7-alpine"}

    def docker(*arguments: str) -> str:
        verb, what, *names = arguments
        assert (verb, what) == ("image", "inspect")
        if lacking := {*names} - present:
            raise StackError(f"No such image: {lacking}")
        return "[]"

    monkeypatch.setattr(images, "docker", docker)

    assert images.missing(CONFIG)
    present.add("ours:1")
    assert not images.missing(CONFIG)
