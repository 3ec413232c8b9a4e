"""Every bar, signal and trade of a soak, accounted for while it lasts and at its end."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import redis

from scripts.stack.evidence import SETTLED_S, Evidence
from tests.accounting import gaps_without_reason, minutes_that_differ, problems

EVERY_S = 3600
BEHIND_S = 1800
"""Bars younger than this may still be fetched."""

SETTLED_WITHIN_S = 420.0
"""The late roll-up of minutes runs every five."""

RECENT_S = 12 * 3600
"""Minutes and gaps are looked at so far back: seconds and the list of trades are there for sure."""

AGAIN_S = 5.0


class Account:
    """Bars are compared hour by hour: neither they nor the list of trades are kept much longer
    than a day."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._begin = self._reached = int(evidence.simulator("status")["live_from"])
        self._mismatches: list[dict[str, Any]] = []
        self.counted: Counter[str] = Counter()

    def advance(self) -> None:
        """Compare an hour of bars, if one is due."""
        if time.time() - self._reached >= EVERY_S + BEHIND_S:
            try:
                self._compare(self._reached + EVERY_S)
            except (OSError, redis.RedisError):
                return  # a service has just been killed: the next turn

    def close(self) -> list[str]:
        """Compare the rest, once what can be fetched is there; what is wrong, a sentence each.

        Raises `OSError` and `redis.RedisError`.
        """
        end = int(time.time()) - SETTLED_S
        wrong = self._settled(end)
        self._compare(end)
        if self._mismatches:
            count = self.counted["bars different"]
            wrong.append(f"{count} bars differ, such as {self._mismatches[0]}")
        if self.counted["bars"] <= 10 * self.counted["bars in gaps"]:
            wrong.append("more than a tenth of the bars lie in gaps, or none was compared")
        story = self._evidence.story()
        self.counted["signals"] = len(story.signals)
        self.counted["trades opened"] = len(story.opened)
        self.counted["trades closed"] = len(story.closed)
        return wrong

    def _settled(self, end: int) -> list[str]:
        """What is still wrong when enough time has passed for it to come right."""
        deadline = time.monotonic() + SETTLED_WITHIN_S
        start = max(self._begin, end - RECENT_S)
        while wrong := self._open(start, end):
            if time.monotonic() > deadline:
                return wrong
            time.sleep(AGAIN_S)
        return []

    def _open(self, start: int, end: int) -> list[str]:
        gaps = gaps_without_reason(self._evidence, start, end)
        first, last = -(-start // 60) * 60, end // 60 * 60
        minutes = minutes_that_differ(self._evidence, first, last)
        return [
            *(f"a gap was not fetched: {gap}" for gap in gaps),
            *(f"the minute {minute} of {market} is not its seconds" for market, minute in minutes),
            *problems(self._evidence),
        ]

    def _compare(self, end: int) -> None:
        audit = self._evidence.audit(self._reached, end)
        self._reached = end
        self._mismatches += audit.mismatches
        self.counted["bars"] += audit.compared
        self.counted["bars different"] += audit.mismatched
        self.counted["bars in gaps"] += audit.in_gaps
        self.counted["trades in bars"] += audit.trades
