"""Finds and runs benchmarks: one module in `tests/bench/` each, with a function `run() -> dict`.

`run` answers its figures, units in their names, and may raise `StackError`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from scripts.stack.running import StackError
from tests import bench


def main(arguments: list[str]) -> int:
    """The command: 0 done, 1 failed, 2 no such benchmark."""
    parser = argparse.ArgumentParser(prog="bench.sh", description="Run a benchmark.")
    parser.add_argument("name", nargs="?", help="left out: list them")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    names = sorted(module.name for module in pkgutil.iter_modules(bench.__path__))
    if chosen.name is None:
        for name in names:
            print(f"{name:<16} {_summary(_module(name))}")
        return 0
    if chosen.name not in names:
        print(f"No benchmark {chosen.name!r}. There are: {', '.join(names)}.", file=sys.stderr)
        return 2
    try:
        figures: Mapping[str, Any] = _module(chosen.name).run()
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    document = {"bench": chosen.name, **figures}
    if chosen.json:
        print(json.dumps(document))
    else:
        for name, value in _flat(document):
            print(f"{name:<40} {value}")
    return 0


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{bench.__name__}.{name}")


def _summary(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().splitlines()[0]


def _flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
