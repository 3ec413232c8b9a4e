from __future__ import annotations

import json
import pkgutil
from types import SimpleNamespace

import pytest

from scripts import benchmarks
from scripts.stack.running import StackError

FIGURES = {"bars": 3, "latency": {"p50_ms": 1.5, "p99_ms": 2.5}}


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The only benchmark there is."""
    module = SimpleNamespace(__doc__="How fast it is.\n\nMore.", run=lambda: FIGURES)
    monkeypatch.setattr(pkgutil, "iter_modules", lambda _: [SimpleNamespace(name="speed")])
    monkeypatch.setattr(benchmarks, "_module", lambda _: module)
    return module


@pytest.mark.usefixtures("one")
def test_without_a_name_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.main([]) == 0
    assert capsys.readouterr().out.split() == ["speed", "How", "fast", "it", "is."]


@pytest.mark.usefixtures("one")
def test_one_that_is_not_there_is_refused_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert benchmarks.main(["sped"]) == 2
    assert capsys.readouterr().err == "No benchmark 'sped'. There are: speed.\n"


@pytest.mark.usefixtures("one")
def test_figures_are_told_by_line_or_as_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.main(["speed"]) == 0
    told = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert told == {
        "bench": "speed", "bars": "3", "latency.p50_ms": "1.5", "latency.p99_ms": "2.5"
    }  # fmt: skip
    assert benchmarks.main(["speed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"bench": "speed", **FIGURES}


def test_one_that_cannot_run_says_why(
    one: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> None:
        raise StackError("no InfluxDB here")

    one.run = run
    assert benchmarks.main(["speed"]) == 1
    assert capsys.readouterr().err == "no InfluxDB here\n"


def test_every_benchmark_says_what_it_measures(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.main([]) == 0
    assert all(len(line.split()) > 3 for line in capsys.readouterr().out.splitlines())
