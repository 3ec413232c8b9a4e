"""What the keeper takes for killed, and what for stopped."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts.stack import keeper

ENDED_S = 1_795_000_000.0  # 2026-11-18T11:06:40Z


def container(**changes: Any) -> dict[str, Any]:
    state = {"Status": "exited", "ExitCode": 137, "FinishedAt": "2026-11-18T11:06:40.123456789Z"}
    policy = changes.pop("policy", "unless-stopped")
    return {
        "Id": "id",
        "Name": "/redis",
        "State": state | changes,
        "HostConfig": {"RestartPolicy": {"Name": policy}},
    }


def test_the_engines_time_is_read() -> None:
    assert keeper._seconds("2026-11-18T11:06:40.123456789Z") == ENDED_S
    assert keeper._seconds("2026-11-18T11:06:40Z") == ENDED_S


def test_what_was_killed_and_is_left_like_that_is_started() -> None:
    assert keeper.was_killed(container(), ENDED_S + keeper.LEFT_S)


@pytest.mark.parametrize(
    "given",
    [
        container(Status="running"),
        container(Status="restarting"),
        # Ended by docker stop, or by itself.
        container(ExitCode=0),
        container(ExitCode=143),
        container(ExitCode=1),
        # Runs once.
        container(policy="no"),
    ],
)
def test_nothing_else_is(given: dict[str, Any]) -> None:
    assert not keeper.was_killed(given, ENDED_S + 60)


def test_whoever_removes_it_has_the_time_to() -> None:
    assert not keeper.was_killed(container(), ENDED_S + keeper.LEFT_S - 1)


def test_a_look_starts_the_killed_ones_only(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ("killed", "ended", "stopped")
    found = [container() | {"Id": i} for i in ids]
    found[1]["State"]["ExitCode"] = 0
    events = ["stopped\n"]
    started: list[str] = []

    def docker(command: str, *arguments: str) -> str:
        match command:
            case "ps":
                return " ".join(ids)
            case "inspect":
                return json.dumps(found)
            case "start":
                started.extend(arguments)
            case "events" if "container=stopped" in arguments and "event=stop" in arguments:
                return events.pop()  # which the engine has forgotten when it is asked again
        return ""

    monkeypatch.setattr(keeper, "docker", docker)
    respected: set[str] = set()

    assert keeper.look([], respected) == 3
    assert keeper.look([], respected) == 3
    assert started == ["killed", "killed"]
