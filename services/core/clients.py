"""Connections to Redis, as every service opens them."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import FullJitterBackoff

from aggr_server.settings import Connections


def redis_client(
    settings: Connections, *, socket_timeout_s: float | None = 5.0, retries: int = 3
) -> Redis:
    """A pooled client that answers bytes. Pass None for blocking reads and subscriptions.

    Short outages (about a second) are retried inside a call; longer ones raise
    `redis.exceptions.ConnectionError`. A call to a server that hangs takes the time-out once more
    for each retry, and again for each connection that is tried: pass 0 where others wait for it.
    """
    return Redis(
        host=settings.redis_host,
        port=settings.redis_port,
        db=settings.redis_db,
        password=settings.redis_password or None,
        socket_timeout=socket_timeout_s,
        socket_connect_timeout=3.0,
        health_check_interval=15,
        max_connections=50,
        retry=Retry(FullJitterBackoff(cap=0.5, base=0.05), retries=retries),
    )
