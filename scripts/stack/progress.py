"""Progress lines for a person at a terminal: `[ 12 s] freqtrade: installing`."""

from __future__ import annotations

import sys
import threading
import time


class Progress:
    """Prints each line with the seconds since the command began; may be used by threads."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._last: dict[str, str] = {}

    @property
    def seconds(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self._began

    def say(self, subject: str, text: str) -> None:
        """Print `subject: text`, unless it is what was last said of the subject."""
        with self._lock:
            if self._last.get(subject) == text:
                return
            self._last[subject] = text
            print(f"[{self.seconds:3.0f} s] {subject}: {text}", file=sys.stderr, flush=True)
