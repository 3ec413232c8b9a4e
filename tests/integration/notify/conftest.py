"""Fixtures of the tests of messages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.notify.sink import Sink


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """A service that takes messages, listening."""
    sink = Sink()
    await sink.start()
    yield sink
    sink.answer.set()
    await sink.stop()


@pytest.fixture
async def other_sink() -> AsyncIterator[Sink]:
    """Another one, which does not listen yet."""
    sink = Sink()
    yield sink
    await sink.stop()
