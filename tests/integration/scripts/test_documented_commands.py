"""Every command of the documents runs as it is written, against the stack as local processes.

Those that want a Docker engine are run by `tests/stack/test_documented_commands.py`.
"""

from __future__ import annotations

import pytest

from tests.operator import plan
from tests.operator.documents import DOCUMENTS, Command, commands
from tests.operator.place import Place
from tests.operator.walk import Walk


def typed(document: str) -> list[Command]:
    """What is run here, in the order of the document."""
    return [
        command
        for command in commands(document)
        if command.text not in plan.NOT_RUN and not command.text.startswith(plan.IN_CONTAINERS)
    ]


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("document", [name for name in DOCUMENTS if typed(name)])
def test_every_command_of_a_document_runs_as_written(document: str, place: Place) -> None:
    start = "./scripts/up.sh --demo" if document in plan.DEMO_DOCUMENTS else "./scripts/up.sh"
    failures = Walk(place, start).through(typed(document))
    assert not failures, "\n\n".join(failures)
