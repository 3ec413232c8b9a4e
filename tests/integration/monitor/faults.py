"""A real fault, what measures it, and the shipped rules: raised and cleared, once each."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, ParamSpec

from services.core.records import Alert
from services.monitor import rules
from services.monitor.incidents import Incidents
from services.monitor.measure.board import Board, Source
from services.monitor.readings import Reading

TIMEOUT_S = 60.0
LOOK_S = 0.02
STEP_S = 10.0

Read = Callable[[], Awaitable[list[Reading]]]
Act = Callable[[], Any]
P = ParamSpec("P")

COVERED: dict[str, str] = {}
"""Rule -> the test that raises and clears it."""

_shown: set[str] = set()


def raises(
    *codes: str,
) -> Callable[[Callable[P, Coroutine[Any, Any, None]]], Callable[P, Coroutine[Any, Any, None]]]:
    """Marks the test of these rules; it fails unless an `Operator` has been shown all of them, or
    the one that it is given as `code`."""

    def marked(
        test: Callable[P, Coroutine[Any, Any, None]],
    ) -> Callable[P, Coroutine[Any, Any, None]]:
        COVERED.update(dict.fromkeys(codes, test.__name__))

        @functools.wraps(test)
        async def checked(*args: P.args, **kwargs: P.kwargs) -> None:
            _shown.clear()
            await test(*args, **kwargs)
            assert _shown >= ({kwargs["code"]} if "code" in kwargs else set(codes))

        return checked

    return marked


def changed(folder: Path, **tables: str) -> str:
    """A rules file of the operator's: limits that a test can reach."""
    path = folder / "own_rules.toml"
    path.write_text("\n".join(f"[{name}]\n{lines}\n" for name, lines in tables.items()))
    return str(path)


class Operator:
    """Is told what the monitor's board and rules make of `sources`, as in a round of the monitor.

    `codes`: the rules that are looked at; `path`: of rules that go before the shipped ones. From
    look to look the clock of the incidents goes on by `step_s`, so that a rule's duration takes no
    time; the readings are what the servers say at that moment.
    """

    def __init__(
        self, sources: Mapping[str, Read], *codes: str, path: str = "", step_s: float = STEP_S
    ) -> None:
        self.board = Board([Source(name, read, timeout_s=10.0) for name, read in sources.items()])
        self.rules = {code: rule for code, rule in rules.load(path).items() if code in codes}
        assert set(self.rules) == set(codes)
        self.told: list[Alert] = []
        self._incidents = Incidents()
        self._now_s = 1_732_000_000.0
        self._step_s = step_s

    async def look(self) -> None:
        """One round."""
        readings = await self.board.look()
        found = rules.findings(readings, self.rules)
        self.told += self._incidents.update(found, self._now_s)
        self._now_s += self._step_s
        await asyncio.sleep(LOOK_S)

    async def shows(self, *codes: str, fault: Act, mend: Act, well_before: bool = True) -> None:
        """The fault raises exactly these rules, one message each, and mending clears them."""
        if well_before:
            for _ in range(5):
                await self.look()
            assert self.told == []
        await _run(fault)
        await self._until(lambda: self._open() >= set(codes), "not raised")
        await _run(mend)
        await self._until(lambda: not self._open(), "not cleared")
        await self.board.close()
        begun = [alert for alert in self.told if not alert.ended_level]
        ended = [alert for alert in self.told if alert.ended_level]
        assert sorted(alert.code for alert in begun) == sorted(codes), self.told
        assert sorted(alert.code for alert in ended) == sorted(codes), self.told
        for alert in begun:
            assert alert.level == self.rules[alert.code].severity
            assert "; " in alert.text  # what to do
            print(f"{alert.code}: {alert.text}")
        _shown.update(codes)

    def _open(self) -> set[str]:
        return {incident.code for incident in self._incidents.open.values()}

    async def _until(self, condition: Callable[[], bool], problem: str) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while not condition():
                    await self.look()
        except TimeoutError:
            readings = await self.board.look()
            raise AssertionError(f"{problem}: {self.told}, {readings}") from None


def together(parties: int, act: Act) -> Act:
    """An act of several operators, done once when all of them have come to it."""
    barrier = asyncio.Barrier(parties)

    async def turn() -> None:
        if await barrier.wait() == 0:
            await _run(act)
        await barrier.wait()

    return turn


async def _run(act: Act) -> None:
    result = act()
    if inspect.isawaitable(result):
        await result


async def nothing() -> None:
    """For a fault that is there already."""
