"""Notices which seconds a collector published and we have not heard. No input or output."""

from __future__ import annotations

from dataclasses import dataclass

from aggr_server.wire import ClosedSecond


@dataclass(slots=True)
class _Heard:
    epoch: str
    seq: int
    second: int


class Sequences:
    """The newest message of each collector."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def follow(self, message: ClosedSecond) -> tuple[int, int] | None:
        """Take note of a message; the seconds [from_s, to_s) missed before it, if any.

        A collector heard for the first time may have published the second before, too.
        """
        known = self._heard.get(message.collector)
        self._heard[message.collector] = _Heard(message.epoch, message.seq, message.second)
        if known is None:
            return message.second - 1, message.second
        if known.epoch != message.epoch:
            # What it published between its last message and its end is not known.
            return known.second, max(known.second + 1, message.second)
        if message.seq <= known.seq:
            self._heard[message.collector] = known
            return None
        if message.seq == known.seq + 1:
            return None
        return known.second, max(known.second + 1, message.second)

    def forget(self) -> None:
        """The channel was not heard for a while."""
        self._heard.clear()
