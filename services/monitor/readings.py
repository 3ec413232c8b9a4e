"""A measured value that rules are held against."""

from __future__ import annotations

import msgspec


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: what is measured, with its unit; `subject`: of what, such as a service or a path.

    A value that could not be measured has no reading: absence is never a zero. `detail`: what a
    person should know beyond the number. `remedy`: replaces the rule's own where it is known
    better. `since_s`: for how long it has been so already, where whoever measured it knows.
    """

    name: str
    subject: str
    value: float
    detail: str = ""
    remedy: str = ""
    since_s: float = 0.0
