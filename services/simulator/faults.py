"""Faults that the senders consult before a frame goes out."""

from __future__ import annotations

import msgspec


class FaultPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to go wrong. `mute`: markets that send nothing, although they trade."""

    mute: tuple[str, ...] = ()


class Faults:
    """The plan in force; replaced as a whole."""

    def __init__(self) -> None:
        self.plan = FaultPlan()

    def silent(self, market: str) -> bool:
        """Whether frames of this market are held back."""
        return market in self.plan.mute
