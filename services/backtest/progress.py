"""One line on the terminal that says how far something is; nothing where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

WIDTH = 30
EVERY_S = 0.1


class ProgressLine:
    """A bar with percentage and remaining time, rewritten in place; call with the share done."""

    def __init__(
        self,
        label: str,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._stream = stream or sys.stderr
        self._clock = clock
        self._shown = self._stream.isatty()
        self._began = clock()
        self._due = self._began

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def __call__(self, share: float) -> None:
        now = self._clock()
        if not self._shown or now < self._due:
            return
        self._due = now + EVERY_S
        share = min(1.0, max(0.0, share))
        filled = round(share * WIDTH)
        left = f"  {self._left(now, share)} left" if share > 0.02 else ""
        self._stream.write(
            f"\r\x1b[K{self._label} [{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}{left}"
        )
        self._stream.flush()

    def _left(self, now: float, share: float) -> str:
        seconds = round((now - self._began) * (1.0 - share) / share)
        return f"{seconds // 60}:{seconds % 60:02d}"
