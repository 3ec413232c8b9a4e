"""The long-running tasks of a process: one that fails ends them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

CANCEL_AGAIN_S = 0.5

Part = Callable[[], Coroutine[Any, Any, None]]


class Crew:
    """A flat group of tasks.

    Unlike `asyncio.TaskGroup` it cancels again and again, because a library on the way may lose a
    cancellation, and a process that does not end is killed without having tidied up.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()

    def start(self, part: Part) -> asyncio.Task[None]:
        """Run `part` as a task. It may return; if it raises, `until` raises the same."""
        task = asyncio.create_task(part())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def until(self, stop: asyncio.Event) -> None:
        """Wait until `stop` is set, then end all tasks. Raises what the first failed one raised."""
        waiting = [asyncio.create_task(stop.wait()), asyncio.create_task(self._failed.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await self._end()
        if self._failure is not None:
            raise self._failure

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self._failed.set()

    async def _end(self) -> None:
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(set(self._tasks), timeout=CANCEL_AGAIN_S)
