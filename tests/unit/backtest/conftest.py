from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from services.backtest.run import Run
from services.backtest.sources.tape import Tape
from tests.unit.backtest import offline


@pytest.fixture(scope="session")
def tapes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tape]:
    """`tapes("S1")`: a scenario's market, made once."""
    made: dict[str, Tape] = {}

    def tape(name: str) -> Tape:
        if name not in made:
            made[name] = offline.tape(name, tmp_path_factory.mktemp(name))
        return made[name]

    return tape


@pytest.fixture(scope="session")
def runs(tapes: Callable[[str], Tape]) -> Callable[[str], Run]:
    """`runs("S1")`: the scenario run through, without costs and delay."""
    made: dict[str, Run] = {}

    def run(name: str) -> Run:
        if name not in made:
            made[name] = offline.run(offline.plan(tapes(name)))
        return made[name]

    return run


@pytest.fixture
def recordings() -> Path:
    """The folder of recorded trades."""
    return Path(__file__).parent / "fixtures"
