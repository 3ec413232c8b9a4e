"""A real HTTP server that takes what Apprise's `json://` sends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

from tests.integration.servers import free_port

TOKEN = "Token0123456789"


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it arrived."""

    title: str
    body: str
    tone: str


class Sink:
    """Answers with `status`, after `answer` is set; keeps what it accepted."""

    def __init__(self) -> None:
        self.port = free_port()
        self.status = 200
        self.received: list[Received] = []
        self.asked = 0
        self.answer = asyncio.Event()
        self.answer.set()
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """For NOTIFY_URLS; holds a secret."""
        return f"json://127.0.0.1:{self.port}/{TOKEN}"

    @property
    def titles(self) -> list[str]:
        """Titles of all messages."""
        return [message.title for message in self.received]

    @property
    def unmarked(self) -> list[str]:
        """The same without the mark they have behind a gateway."""
        return [title.removeprefix("Demo: ") for title in self.titles]

    async def start(self) -> None:
        """Listen."""
        application = web.Application()
        application.router.add_post(f"/{TOKEN}", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Be gone."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def until_received(self, count: int, timeout_s: float = 15.0) -> None:
        """Wait until so many messages have been accepted."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: len(self.received) >= count)

    async def until_asked(self, count: int, timeout_s: float = 15.0) -> None:
        """Wait until there were so many requests, answered or not."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: self.asked >= count)

    async def _take(self, request: web.Request) -> web.Response:
        document = await request.json()
        async with self._changed:
            self.asked += 1
            self._changed.notify_all()
        await self.answer.wait()
        if self.status == 200:
            message = Received(document["title"], document["message"], document["type"])
            async with self._changed:
                self.received.append(message)
                self._changed.notify_all()
        return web.Response(status=self.status)
