from __future__ import annotations

import io

from services.backtest.progress import ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_terminal_shows_share_and_remaining_time() -> None:
    stream, clock = Terminal(), Clock()
    line = ProgressLine("running", stream, clock)
    clock.now = 30.0
    line(0.25)
    assert stream.getvalue().endswith("running [########......................]  25%  1:30 left")


def test_the_line_is_removed_at_the_end() -> None:
    stream = Terminal()
    with ProgressLine("running", stream, Clock()) as line:
        line(0.5)
    assert stream.getvalue().endswith("\r\x1b[K")


def test_it_is_not_rewritten_all_the_time() -> None:
    stream, clock = Terminal(), Clock()
    line = ProgressLine("running", stream, clock)
    for share in range(100):
        line(share / 100)
    assert stream.getvalue().count("\r") == 1


def test_without_a_terminal_nothing_is_written() -> None:
    stream = io.StringIO()
    with ProgressLine("running", stream, Clock()) as line:
        line(0.5)
    assert stream.getvalue() == ""
