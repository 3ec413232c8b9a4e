from __future__ import annotations

import io
import os
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

from scripts.stack import reviver


class _Supervisor:
    def __init__(self, *, refuses: bool = False) -> None:
        self.started: list[str] = []
        self.signalled: list[tuple[str, str]] = []
        self.programs: list[dict[str, Any]] = []
        self.supervisor: Any = self
        self._refuses = refuses

    def startProcess(self, name: str, wait: bool) -> bool:
        self.started.append(name)
        if self._refuses:
            raise xmlrpc.client.Fault(60, "ALREADY_STARTED")
        return not wait

    def getAllProcessInfo(self) -> list[dict[str, Any]]:
        return self.programs

    def signalProcess(self, name: str, number: str) -> bool:
        self.signalled.append((name, number))
        return True


def _event(process: str) -> str:
    payload = f"processname:{process} groupname:{process} from_state:BACKOFF"
    return (
        f"ver:3.0 server:x serial:1 pool:p poolserial:1 eventname:E len:{len(payload)}\n{payload}"
    )


def test_starts_what_was_given_up_and_answers_each_event() -> None:
    supervisor, answers = _Supervisor(), io.StringIO()
    reviver.serve(io.StringIO(_event("redis") + _event("simulator")), answers, supervisor)  # type: ignore[arg-type]
    assert supervisor.started == ["redis", "simulator"]
    assert answers.getvalue() == "READY\nRESULT 2\nOKREADY\nRESULT 2\nOKREADY\n"


TICK = "ver:3.0 server:x serial:1 pool:p poolserial:1 eventname:TICK_5 len:6\nwhen:1"
START_S = int(time.time()) - 3600


class _Time:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _program(name: str, state: str = "RUNNING", pid: int = 7) -> dict[str, Any]:
    return {"name": name, "statename": state, "pid": pid, "start": START_S}


def _touch(folder: Path, name: str, at_s: float = START_S + 60) -> None:
    (folder / f"{name}.alive").touch()
    os.utime(folder / f"{name}.alive", (at_s, at_s))


def test_what_stands_still_for_too_long_is_found_once(tmp_path: Path) -> None:
    clock = _Time()
    heartbeats = reviver.Heartbeats(tmp_path, 90, clock)
    _touch(tmp_path, "oi-tracker")
    found = []
    for _ in range(25):
        found.append(heartbeats.frozen([_program("oi-tracker"), _program("redis")]))
        clock.now_s += 5
    assert found[:18] == [[]] * 18
    assert found[18] == ["oi-tracker"]
    assert found[19:] == [[]] * 6


def test_a_loop_that_turns_is_left_alone(tmp_path: Path) -> None:
    clock = _Time()
    heartbeats = reviver.Heartbeats(tmp_path, 90, clock)
    for turn in range(40):
        _touch(tmp_path, "oi-tracker", START_S + turn)
        assert heartbeats.frozen([_program("oi-tracker")]) == []
        clock.now_s += 60


def test_what_has_not_turned_since_it_started_may_still_be_starting(tmp_path: Path) -> None:
    clock = _Time()
    heartbeats = reviver.Heartbeats(tmp_path, 90, clock)
    _touch(tmp_path, "strategy-runner", START_S - 10)
    for _ in range(40):
        assert heartbeats.frozen([_program("strategy-runner")]) == []
        clock.now_s += 60


def test_a_program_that_was_started_anew_is_given_its_time_again(tmp_path: Path) -> None:
    clock = _Time()
    heartbeats = reviver.Heartbeats(tmp_path, 90, clock)
    _touch(tmp_path, "oi-tracker")
    heartbeats.frozen([_program("oi-tracker", pid=7)])
    clock.now_s += 89
    assert heartbeats.frozen([_program("oi-tracker", pid=8)]) == []
    clock.now_s += 2
    assert heartbeats.frozen([_program("oi-tracker", pid=8)]) == []
    clock.now_s += 90
    assert heartbeats.frozen([_program("oi-tracker", "STOPPING", pid=8)]) == []
    assert heartbeats.frozen([_program("oi-tracker", pid=8)]) == ["oi-tracker"]


def test_M1_what_stands_still_is_killed_at_a_tick(tmp_path: Path) -> None:
    supervisor, answers = _Supervisor(), io.StringIO()
    supervisor.programs = [_program("oi-tracker")]
    _touch(tmp_path, "oi-tracker")
    heartbeats = reviver.Heartbeats(tmp_path, 0)
    reviver.serve(io.StringIO(TICK + TICK), answers, supervisor, heartbeats)  # type: ignore[arg-type]
    assert supervisor.signalled == [("oi-tracker", "KILL")]
    assert supervisor.started == []
    assert answers.getvalue().count("RESULT 2\nOK") == 2


def test_goes_on_if_supervisor_refuses() -> None:
    supervisor, answers = _Supervisor(refuses=True), io.StringIO()
    reviver.serve(io.StringIO(_event("redis")), answers, supervisor)  # type: ignore[arg-type]
    assert answers.getvalue().count("RESULT 2\nOK") == 1
