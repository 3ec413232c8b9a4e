"""What is to go wrong, where and when: the plan that `POST /control/faults` takes.

Times are UTC milliseconds of the simulated clock. A fault without `venues` concerns all of them.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

StreamKind = Literal["trades", "liquidations"]
Garbage = Literal["truncated", "not_a_number", "negative", "wrong_type"]

FOREVER_MS = 1 << 62
BOTH: tuple[StreamKind, ...] = ("trades", "liquidations")
GARBAGE: tuple[Garbage, ...] = ("truncated", "not_a_number", "negative", "wrong_type")

Probability = Annotated[float, Meta(gt=0, le=1)]
Milliseconds = Annotated[int, Meta(ge=0, le=600_000)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Moment = Annotated[int, Meta(ge=0)]


def _tag(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class VenueFault(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="fault",
    tag=_tag,
):
    """In force from `from_ms` (0: now) until `until_ms`."""

    venues: tuple[str, ...] = ()
    from_ms: Moment = 0
    until_ms: Moment = FOREVER_MS


class FrameFault(VenueFault, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """Concerns frames of trades or of forced orders, of some `markets` if they are named."""

    markets: tuple[str, ...] = ()
    kinds: tuple[StreamKind, ...] = BOTH
    probability: Probability = 1.0


class Mute(FrameFault, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """Subscriptions are confirmed and pings answered, but nothing is sent.

    `connections`: `present` ones only, so that a new connection helps, or `all`.
    """

    connections: Literal["all", "present"] = "all"


class Drop(FrameFault, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """Frames are lost; only where the venue's ids prove it, as those of forced orders never do."""

    kinds: tuple[StreamKind, ...] = ("trades",)


class Duplicate(FrameFault, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """Frames are sent once more, up to `within_ms` later."""

    within_ms: Milliseconds = 0


class Reorder(FrameFault, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """Frames are held back for up to `within_ms`, so that later ones overtake them."""

    within_ms: Milliseconds = 2000


class Garble(FrameFault, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """Before the frame, one that looks like it but cannot be a trade."""

    ways: Annotated[tuple[Garbage, ...], Meta(min_length=1)] = GARBAGE


class Huge(FrameFault, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """The frame is blown up to this size with white space."""

    size_bytes: Annotated[int, Meta(ge=1, le=64_000_000)] = 10_000_000


class Slow(VenueFault, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """Frames take this long to arrive; `bytes_per_s`: 0 is no limit."""

    latency_ms: Milliseconds = 0
    bytes_per_s: Annotated[int, Meta(ge=0)] = 0


class Reset(VenueFault, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """All connections are reset at `from_ms`, and every `every_s` after it unless that is 0.

    `drop_ms`: what was to be sent in the time before is not.
    """

    every_s: Seconds = 0
    drop_ms: Milliseconds = 0


class Close(Reset, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """All connections are closed in good order, with `code`."""

    code: Annotated[int, Meta(ge=1000, le=4999)] = 1001


class Leave(Reset, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """The venue announces in its own words that it will close, and does after `notice_s`."""

    notice_s: Seconds = 5.0


class Refuse(VenueFault, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """New connections are cut before an answer."""

    connect: bool = True
    rest: bool = True


class Hang(Refuse, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """Requests are accepted and never answered."""


class Status(Refuse, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """Requests are answered with an HTTP status."""

    status: Annotated[int, Meta(ge=400, le=599)]
    retry_after_s: Annotated[int, Meta(ge=0, le=86_400)] = 0
    probability: Probability = 1.0


class RestLag(VenueFault, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """REST knows trades only after `lag_ms`, and answers after `latency_ms`."""

    lag_ms: Milliseconds = 0
    latency_ms: Milliseconds = 0


class ClockOffset(VenueFault, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=_tag):
    """The venue's clock is ahead of ours, or behind if negative."""

    offset_ms: Annotated[int, Meta(ge=-10_000, le=10_000)]


OnFrames = Mute | Drop | Duplicate | Reorder | Garble | Huge
Pulse = Reset | Close | Leave
OnConnections = Slow | Pulse | Refuse | Hang | Status | RestLag | ClockOffset
Fault = OnFrames | OnConnections


class FaultPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that is to go wrong; replaces the plan before it.

    `mute`: markets that send nothing from now on, a short form of that fault.
    """

    faults: tuple[Fault, ...] = ()
    mute: tuple[str, ...] = ()


class Refusal(Exception):
    """The plan cannot be followed; the text says why, and what to do."""
