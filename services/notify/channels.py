"""Where messages go: one channel for each Apprise URL. URLs hold tokens and are never shown."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from aggr_server.env import SettingsError
from services.notify.planner import Message

if TYPE_CHECKING:
    import apprise

SEND_TIMEOUT_S = 20.0
SHORTEST_SECRET = 3
# Shorter parts are only hidden where they stand alone: they may be parts of common words.
SURE_SECRET = 8
LONGEST_REASON = 200
# A comma may also stand within a URL; one between two URLs is followed by the next one's scheme.
_BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")


class NotSent(Exception):
    """A message has not reached its channel; the text says why and holds no secret."""


class Channel(Protocol):
    """A way to the operator."""

    @property
    def label(self) -> str:
        """Name for logs and people, such as `telegram-1`."""
        ...

    @property
    def identity(self) -> str:
        """The same as long as its URL is; tells nothing of it."""
        ...

    async def send(self, message: Message) -> None:
        """Send. Raises `NotSent`."""
        ...

    def close(self) -> None:
        """Let go of what it uses."""
        ...


class AppriseChannel:
    """A channel of Apprise's. Has a thread of its own, so that one that hangs holds up none."""

    def __init__(self, label: str, url: str, service: apprise.Apprise) -> None:
        self.label = label
        # Slow on purpose: a mail password in the URL must not be guessable from the name of a key.
        digest = hashlib.scrypt(url.encode(), salt=b"squeezeflow", n=1 << 12, r=8, p=1, dklen=8)
        self.identity = digest.hex()
        self._secrets = secrets_of(url)
        self._service = service
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"notify-{label}")

    async def send(self, message: Message) -> None:
        """See `Channel`."""
        reason = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._notify, message
        )
        if reason is not None:
            raise NotSent(redacted(reason, self._secrets))

    def close(self) -> None:
        """See `Channel`."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _notify(self, message: Message) -> str | None:
        """Why the service has not taken the message, None if it has."""
        result = self._service.notify(
            message.body,
            title=message.title,
            notify_type=message.tone,
            body_format="text",
            timeout=SEND_TIMEOUT_S,
        )
        if result:
            return None
        reasons = [entry.message for entry in result.logs()]
        return "; ".join(reasons) or result.status.name.lower()


def split(text: str) -> list[str]:
    """URLs separated by commas or white space; lines that begin with # are left out."""
    lines = (line.strip() for line in text.splitlines())
    kept = " ".join(line for line in lines if line and not line.startswith("#"))
    return [url for part in _BETWEEN.split(kept) if (url := part.strip(" ,"))]


def load(text: str) -> list[AppriseChannel]:
    """The channels of a setting. Takes a second, as Apprise is imported only if there is one.

    Raises `SettingsError` for what is no URL of Apprise's; the text shows its scheme alone.
    """
    if not (urls := split(text)):
        return []
    keep_quiet()
    import apprise

    channels = []
    for number, url in enumerate(urls, 1):
        service = apprise.Apprise()
        if not service.add(url):
            raise SettingsError(_bad_url(number, len(urls), url))
        name = re.sub("[^a-z0-9]+", "-", str(service[0].service_name).lower()).strip("-")
        channels.append(AppriseChannel(f"{name}-{number}", url, service))
    return channels


def keep_quiet() -> None:
    """What these libraries log may hold tokens; what matters of it comes as `NotSent`."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    logger.addHandler(logging.NullHandler())
    for name in ("urllib3", "requests_oauthlib", "oauthlib"):
        logging.getLogger(name).setLevel(logging.ERROR)


def secrets_of(url: str) -> list[str]:
    """Every part of a URL that could be one: all but its scheme, the longest first."""
    pieces = re.split(r"[/:@?&=,;\s]+", _SCHEME.sub("", url))
    parts = {*pieces, *map(unquote, pieces)}
    return sorted((p for p in parts if len(p) >= SHORTEST_SECRET), key=len, reverse=True)


def redacted(text: str, secrets: Sequence[str]) -> str:
    """One line without the secrets."""
    for secret in secrets:
        pattern = re.escape(secret)
        if len(secret) < SURE_SECRET:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, "***", text)
    return " ".join(text.split())[:LONGEST_REASON].rstrip(".")


def _bad_url(number: int, count: int, url: str) -> str:
    scheme = _SCHEME.match(url)
    shown = f"{scheme[1]}://..." if scheme else "no scheme://"
    return (
        f"NOTIFY_URLS: Apprise cannot use URL {number} of {count} ({shown}). Correct it in .env or "
        "secrets/notify_urls; the form for each service is at https://appriseit.com/services/"
    )
