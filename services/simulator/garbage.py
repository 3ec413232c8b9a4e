"""Frames that look like a venue's, and that nobody may take for a trade."""

from __future__ import annotations

import re
from random import Random

from services.simulator.fault_plan import Garbage

Frame = str | bytes

_DECIMAL = re.compile(r'"?(?<![\w.-])(?<!\d:)\d+\.\d+"?')
_NO_NUMBERS = ("[]", "{}", "null", '"many"')


def garbled(frame: Frame, way: Garbage, luck: Random) -> Frame | None:
    """A broken copy of `frame`; None if it cannot be broken that way.

    Binary frames are only cut: any other change may make another trade of them.
    """
    if isinstance(frame, bytes) or way == "truncated":
        return frame[: luck.randrange(1, max(2, len(frame)))]
    numbers = list(_DECIMAL.finditer(frame))
    if not numbers:
        return None
    number = luck.choice(numbers)
    text = number[0].strip('"')
    quote = '"' if number[0].startswith('"') else ""
    broken = {
        "not_a_number": f"{quote}NaN{quote}",
        "negative": f"{quote}-{text}{quote}",
        "wrong_type": luck.choice(_NO_NUMBERS),
    }[way]
    return frame[: number.start()] + broken + frame[number.end() :]
