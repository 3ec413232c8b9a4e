from __future__ import annotations

import io
import xmlrpc.client
from typing import Any

from scripts.stack import reviver


class _Supervisor:
    def __init__(self, *, refuses: bool = False) -> None:
        self.started: list[str] = []
        self.supervisor: Any = self
        self._refuses = refuses

    def startProcess(self, name: str, wait: bool) -> bool:
        self.started.append(name)
        if self._refuses:
            raise xmlrpc.client.Fault(60, "ALREADY_STARTED")
        return not wait


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


def test_goes_on_if_supervisor_refuses() -> None:
    supervisor, answers = _Supervisor(refuses=True), io.StringIO()
    reviver.serve(io.StringIO(_event("redis")), answers, supervisor)  # type: ignore[arg-type]
    assert answers.getvalue().count("RESULT 2\nOK") == 1
