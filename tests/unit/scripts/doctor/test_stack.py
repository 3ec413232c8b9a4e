from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.doctor import stack
from scripts.doctor.site import Site
from scripts.stack import native
from tests.programs import program

OLD = time.time() - 2 * stack.RECENT_S


def container(root: Path, service: str, **state: Any) -> dict[str, Any]:
    return {
        "Id": service,
        "Name": f"/squeezeflow-{service}",
        "State": {"Status": "running", "Running": True, "ExitCode": 0, **state},
        "Config": {
            "Labels": {
                "com.docker.compose.service": service,
                "com.docker.compose.project.working_dir": str(root),
            }
        },
    }


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ({"Status": "running"}, "healthy"),
        ({"Status": "running", "Health": {"Status": "unhealthy"}}, "unhealthy"),
        ({"Status": "exited", "ExitCode": 0}, "healthy"),
        ({"Status": "exited", "ExitCode": 78}, "ended with status 78"),
        (
            {"Status": "exited", "ExitCode": 137, "OOMKilled": True},
            "killed: it took more memory than its limit",
        ),
        ({"Status": "restarting", "ExitCode": 1}, "restarting"),
    ],
)
def test_a_container_is_judged_by_its_state(state: dict[str, Any], verdict: str) -> None:
    assert stack.verdict(state) == verdict


def fake_docker(folder: Path, containers: list[dict[str, Any]], log: str) -> None:
    (folder / "inspected").write_text(json.dumps(containers))
    (folder / "logged").write_text(log)
    program(
        folder / "docker",
        f'case "$1 $5" in\n'
        '"ps label=com.docker.compose.project=squeezeflow") echo one;;\n'
        "ps*) ;;\n"
        f"inspect*) cat {folder}/inspected;;\n"
        f"logs*) cat {folder}/logged >&2;;\n"
        "esac",
    )


def test_an_unhealthy_container_is_told_with_its_last_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    sick = container(tmp_path, "aggr-server", Health={"Status": "unhealthy", "Log": []})
    elsewhere = container(Path("/elsewhere"), "oi-tracker", Health={"Status": "unhealthy"})
    fake_docker(
        tmp_path,
        [container(tmp_path, "redis"), sick, elsewhere],
        "level=ERROR disk full\nlevel=INFO going on\n",
    )
    found = {f.name: f for f in stack.check(Site(tmp_path))}
    assert {name: f.state for name, f in found.items()} == {"redis": "ok", "aggr-server": "fail"}
    assert found["aggr-server"].found == "unhealthy\nlevel=ERROR disk full"
    assert "docker restart squeezeflow-aggr-server" in found["aggr-server"].remedy


def test_what_ran_out_of_memory_is_not_just_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    state = {"Status": "exited", "Running": False, "ExitCode": 137, "OOMKilled": True}
    fake_docker(tmp_path, [container(tmp_path, "strategy-runner", **state)], "")
    (found,) = stack.check(Site(tmp_path))
    assert "raise its limit" in found.remedy


@pytest.mark.parametrize(
    ("project", "running", "demo"),
    [
        ("squeezeflow-demo", True, True),
        ("squeezeflow", True, False),
        ("squeezeflow-demo", False, False),
    ],
)
def test_the_demo_is_told_from_the_real_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: str, running: bool, demo: bool
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    one = container(tmp_path, "redis", Running=running)
    one["Config"]["Labels"]["com.docker.compose.project"] = project
    fake_docker(tmp_path, [one], "")
    assert stack.is_demo(Site(tmp_path)) is demo


def test_what_the_health_check_said_stands_in_for_an_empty_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    log = [{"Output": "old"}, {"Output": "connection refused\n"}]
    fake_docker(
        tmp_path, [container(tmp_path, "x", Health={"Status": "unhealthy", "Log": log})], ""
    )
    (found,) = stack.check(Site(tmp_path))
    assert found.found == "unhealthy\nconnection refused"


@pytest.fixture
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_nothing_running_is_no_fault(no_engine: None, tmp_path: Path) -> None:
    (found,) = stack.check(Site(tmp_path))
    assert found.state == "note"
    assert "./scripts/up.sh" in found.found


def test_a_stack_that_ended_by_itself_fails_with_the_last_errors(
    no_engine: None, tmp_path: Path
) -> None:
    (tmp_path / ".local/run").mkdir(parents=True)
    (tmp_path / ".local/run/stack.json").write_text('{"demo": false, "environ": {}}')
    (tmp_path / ".local/log").mkdir()
    (tmp_path / ".local/log/freqtrade.log").write_text("x - ERROR - no key\nbye\n")
    (tmp_path / ".local/log/redis.log").write_text("ready\n")
    (tmp_path / ".local/log/old.log").write_text("level=ERROR long ago\n")
    os.utime(tmp_path / ".local/log/old.log", (OLD, OLD))
    found = {f.name: f for f in stack.check(Site(tmp_path))}
    assert found.keys() == {"supervisor", "freqtrade"}
    assert found["supervisor"].state == "fail"
    assert "x - ERROR - no key" in found["freqtrade"].found


def test_a_local_process_that_is_not_well_is_told_with_its_last_error(
    no_engine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stack:
        def states(self) -> dict[str, str]:
            return {"redis": "healthy", "freqtrade": "keeps ending", "oi-tracker": "no answer"}

    monkeypatch.setattr(stack, "supervised", lambda _: True)
    monkeypatch.setattr(native, "running", lambda _: Stack())
    (tmp_path / ".local/log").mkdir(parents=True)
    (tmp_path / ".local/log/freqtrade.log").write_text("x - ERROR - no key\nbye\n")
    (tmp_path / ".local/log/redis.log").write_text("lvl=error long ago\n")
    found = {f.name: f for f in stack.check(Site(tmp_path))}
    assert {name: f.state for name, f in found.items()} == {
        "redis": "ok",
        "freqtrade": "fail",
        "oi-tracker": "fail",
    }
    assert found["freqtrade"].found == "keeps ending\nx - ERROR - no key"
    assert found["oi-tracker"].found == "no answer"
    assert ".local/log/freqtrade.log" in found["freqtrade"].remedy


def test_the_stack_of_another_user_is_named(
    no_engine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".local/run").mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(stack, "foreign_owner", lambda _: "trader")
    (found, *_) = stack.check(Site(tmp_path))
    assert (found.state, found.remedy) == ("fail", "sudo -u trader ./scripts/doctor.sh")
