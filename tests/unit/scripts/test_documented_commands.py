"""The commands of the documents are known, and what the plan for running them says is true."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.operator import documents, plan
from tests.operator.documents import (
    DOCUMENTS,
    ROOT,
    SHOWN,
    TYPED,
    commands,
    fences,
    is_command,
    spans,
)
from tests.operator.fill import FILLED

ALL = [command for document in DOCUMENTS for command in commands(document)]
RUN = [c for c in ALL if c.text not in plan.NOT_RUN]
LITERAL = {"BTC", "COINBASE", "HEALTHY", "PYTHONPATH", "REDISCLI_AUTH", "TRX"}
"""Words in capitals that are typed as they are."""
SERVICES = set(
    yaml.load(
        (ROOT / "docker-compose.yml").read_text(),
        # Some of its tags are Compose's own.
        type("Loader", (yaml.SafeLoader,), {}),
    )["services"]
)


SAMPLE = """\
Run `./scripts/up.sh
--demo`, then open <http://127.0.0.1:8090/>; `redis` is a name, `A=1 curl x` is typed.

```sh
./scripts/down.sh     # stops it
  df -h "# no comment"
```

```text
docker ps
```
1. a step

   ```sh
   cp a b
   ```
"""


class Parsed(Exception):
    """The arguments were accepted."""


def test_what_is_typed_and_opened_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.md").write_text(SAMPLE)
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    assert [(c.line, c.text) for c in commands("a.md")] == [
        (1, "./scripts/up.sh --demo"),
        (2, "A=1 curl x"),
        (2, f"{documents.OPEN}http://127.0.0.1:8090/"),
        (5, "./scripts/down.sh"),
        (6, 'df -h "# no comment"'),
        (15, "cp a b"),
    ]
    assert [fence.language for fence in fences("a.md")] == ["sh", "text", "sh"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_says_whether_it_is_typed(document: str) -> None:
    languages = {fence.language for fence in fences(document)}
    assert languages <= {TYPED, *SHOWN}, "a block is ```sh if it is typed, else ```text"
    text = (ROOT / document).read_text()
    indented = re.findall(r"(?:\A|\n)\n(    (?! *(?:[-*]|\d+\.) ).*)", _prose(text))
    assert indented == [], "write ```sh or ```text instead of indenting"


def _prose(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_command_hides_in_what_is_only_read(document: str) -> None:
    hidden = [
        line
        for fence in fences(document)
        for line in fence.lines
        if (fence.language != TYPED and line.strip() and is_command(line.strip()))
        or (fence.language == TYPED and "scripts/" in line.partition("# ")[2])
    ]
    assert hidden == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_code_of_several_words_is_a_command_or_known_not_to_be(document: str) -> None:
    unknown = [
        str(span)
        for span in spans(document)
        if " " in span.text and not is_command(span.text) and span.text not in plan.NAMED
    ]
    assert unknown == [], "add it to PROGRAMS if it is typed, else to plan.NAMED"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_scripts_that_are_spoken_of_are_there(document: str) -> None:
    named = [s for s in spans(document) if re.fullmatch(r"(\./|scripts/)*\w+\.sh", s.text)]
    missing = [str(s) for s in named if not (ROOT / "scripts" / s.text.split("/")[-1]).is_file()]
    assert missing == []


def test_the_plan_holds_nothing_that_no_document_says() -> None:
    there = {command.text for command in ALL}
    spoken = {span.text for document in DOCUMENTS for span in spans(document)}
    assert [text for text in plan.NAMED if text not in spoken] == []
    tables = (
        *plan.LEFT_OUT,
        *plan.ELSEWHERE,
        *plan.ANSWERS,
        *plan.STOPPED,
        *plan.LOST,
        *plan.LOOKS,
    )
    assert [text for text in tables if text not in there] == []
    assert [begin for begin in plan.ALONE if not any(t.startswith(begin) for t in there)] == []
    assert [word for word in FILLED if not any(word in text for text in there)] == []


def test_no_command_is_both_run_and_left_out() -> None:
    rules = {*plan.ANSWERS, *plan.STOPPED, *plan.LOST, *plan.LOOKS}
    assert rules & plan.NOT_RUN == set()
    assert len(plan.NOT_RUN) == sum(map(len, (plan.NAMED, plan.LEFT_OUT, plan.ELSEWHERE)))


def test_what_is_run_elsewhere_is_run_by_a_test_that_is_there() -> None:
    written = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [n for n in plan.ELSEWHERE.values() if f"def {n}(" not in written] == []


def test_every_word_to_be_replaced_is_known() -> None:
    found = {word for command in RUN for word in re.findall(r"\b[A-Z][A-Z_]{2,}\b", command.text)}
    known = {word for name in FILLED for word in re.findall(r"[A-Z][A-Z_]{2,}", name)}
    assert found - known - LITERAL == set(), "tests/operator/fill.py says what stands in its place"


def test_no_command_wants_a_program_called_python() -> None:
    bare = [str(c) for c in ALL if re.match(r"(sudo )?python ", c.text)]
    assert bare == [], "Debian has python3 only"


@pytest.mark.parametrize("command", sorted({c.text for c in ALL} - plan.NAMED.keys()))
def test_every_command_is_there_and_takes_its_options(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(command.partition(" > ")[0].partition(" < ")[0].partition(" && ")[0])
    if words[0].startswith("./scripts/"):
        script = ROOT / words[0]
        assert os.access(script, os.X_OK)
        accepts(_behind(script.name), words[1:], monkeypatch)
    elif words[0] == "python3":
        assert os.access(ROOT / words[1], os.X_OK)
        accepts([words[1].removesuffix(".py").replace("/", ".")], words[2:], monkeypatch)
    elif "-m" in words and words[words.index("-m") - 1].endswith("python"):
        assert importlib.util.find_spec(words[words.index("-m") + 1])
    elif words[:2] == ["docker", "compose"]:
        known = {*SERVICES, "SERVICE", "restart", "logs", "exec", "up", "ps", "redis-cli"}
        assert [w for w in words[2:] if re.fullmatch(r"[a-z]+(-[a-z]+)*", w) and w not in known] \
            in ([], ["sh"], ["squeezeflow-demo"])  # fmt: skip


def _behind(script: str) -> list[str]:
    """The module and its first arguments that a shell script runs; nothing if it runs none."""
    text = (ROOT / "scripts" / script).read_text()
    found = re.search(r"-P -m (scripts[\w.]*)(?: (\w+|\"\$command\"))?", text)
    return [] if found is None else [found[1], *([found[2]] if found[2] else [])]


def accepts(module: Sequence[str], arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the module's own parser read the arguments, and go no further."""
    if not module:
        return
    name, *first = module
    if first == ['"$command"']:
        first, arguments = (
            (["test"], arguments[1:]) if arguments[:1] == ["--test"] else (["create"], arguments)
        )
    real = argparse.ArgumentParser.parse_args

    def parse_args(parser: argparse.ArgumentParser, *given: Any) -> argparse.Namespace:
        real(parser, *given)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.setattr(sys, "argv", [name, *first, *arguments])
    package = importlib.util.find_spec(name)
    assert package is not None
    found = importlib.import_module(
        f"{name}.__main__" if package.submodule_search_locations else name
    )
    takes = found.main.__code__.co_argcount
    with pytest.raises(Parsed):
        found.main([*first, *arguments]) if takes else found.main()
