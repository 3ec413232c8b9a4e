"""How alerts reach Redis, whichever service raises them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.asyncio.client import Pipeline

from services.core import names

if TYPE_CHECKING:
    from services.core.transaction import Command


def told(alert: bytes) -> list[Command]:
    """The commands that put an encoded `Alert` on channel, list of the last ones, and stream."""
    return [
        ("PUBLISH", names.ALERTS, alert),
        ("LPUSH", names.ALERTS, alert),
        ("LTRIM", names.ALERTS, 0, names.ALERTS_LENGTH - 1),
        ("EXPIRE", names.ALERTS, names.DAY_S),
        ("XADD", names.ALERTS_STREAM, "MAXLEN", "~", names.ALERTS_MAXLEN, "*", "data", alert),
    ]


def tell(pipe: Pipeline, alert: bytes) -> None:
    """Queue the same in a pipeline."""
    for command in told(alert):
        pipe.execute_command(*command)
