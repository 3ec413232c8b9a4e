"""How alerts reach Redis, whichever service raises them."""

from __future__ import annotations

from redis.asyncio.client import Pipeline

from services.core import names


def tell(pipe: Pipeline, alert: bytes) -> None:
    """Queue an encoded `Alert` for the channel and for the list of the last ones."""
    pipe.publish(names.ALERTS, alert)
    pipe.lpush(names.ALERTS, alert)
    pipe.ltrim(names.ALERTS, 0, names.ALERTS_LENGTH - 1)
    pipe.expire(names.ALERTS, names.DAY_S)
