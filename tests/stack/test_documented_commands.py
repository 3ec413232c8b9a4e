"""The documents' commands on containers run as they are written, on the stack of production.

The others are run by `tests/integration/scripts/test_documented_commands.py`. The exchanges are
simulated, all else is as the documents tell to set it up for real money.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operator import plan
from tests.operator.documents import DOCUMENTS, OPEN, Command, commands
from tests.operator.place import Place, cloned, without
from tests.operator.walk import Walk
from tests.stack.conftest import BIND_ADDRESS, ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]

OF_THE_DEMO = "docker compose -p squeezeflow-demo "
FILES = ("docker-compose.yml", "docker-compose.demo.yml", "docker-compose.prod.yml")
BESIDES = (
    "python3 scripts/health_check.py", "python3 scripts/kill_switch.py", "./scripts/doctor.sh",
    "python3 scripts/explain.py", "curl http://127.0.0.1:3000", OPEN,
)  # fmt: skip
"""Beginnings of commands that find the containers, or what they do, by a way of their own."""


def typed() -> list[Command]:
    """What is run here, each once, in the order of the documents."""
    chosen: dict[str, Command] = {}
    for document in DOCUMENTS:
        for command in commands(document):
            if (
                command.text.startswith((*plan.IN_CONTAINERS, *BESIDES))
                and command.text not in plan.NOT_RUN
                and not command.text.startswith(OF_THE_DEMO)
                and "SIGNAL_ID" not in command.text
            ):
                chosen.setdefault(command.text, command)
    return list(chosen.values())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    environ = {
        "PATH": without(tmp_path / "bin", "python"),
        "HOME": os.environ.get("HOME", "/root"),
        "BIND_ADDRESS": BIND_ADDRESS,
        # The doctor asks from this host; the containers have the demo's own.
        "EXCHANGE_GATEWAY": f"http://{BIND_ADDRESS}:18090",
        "AGGR_EXCHANGES": "BINANCE,BINANCE_FUTURES,BYBIT",
        "COMPOSE_FILE": ":".join(FILES),
        "COMPOSE_PROJECT_NAME": "squeezeflow",
        "SQUEEZEFLOW_DATA": str(tmp_path / "data"),
    }
    made = Place(cloned(tmp_path), environ, address=BIND_ADDRESS)
    try:
        yield made
    finally:
        made.run("./scripts/down.sh")
        made.must("docker compose down --volumes --remove-orphans")


def test_every_command_on_containers_runs_as_written(place: Place) -> None:
    place.must("./scripts/up.sh --docker")
    failures = Walk(place, None).through(typed())
    assert not failures, "\n\n".join(failures)


@pytest.mark.usefixtures("demo")
def test_logs_of_the_demo_are_shown() -> None:
    (command,) = {
        c.text for name in DOCUMENTS for c in commands(name) if c.text.startswith(OF_THE_DEMO)
    }
    environ = {**os.environ, "BIND_ADDRESS": BIND_ADDRESS}
    said = Place(ROOT, environ).must(command.replace("SERVICE", "strategy-runner"))
    assert "INFO" in said
