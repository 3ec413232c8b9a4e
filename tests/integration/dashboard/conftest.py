"""Fixtures of the live page's tests."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from tests.integration.dashboard.rig import Feed


@pytest.fixture
def feed(redis: Redis, influx: InfluxClient) -> Feed:
    """Collectors on this test's Redis and InfluxDB."""
    return Feed(redis, influx)
