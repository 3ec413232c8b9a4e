"""Who may look: a password, sessions in memory, and a limit to guessing."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable

SESSION_S = 7 * 86_400
MAX_SESSIONS = 200
ATTEMPTS = 10
ATTEMPTS_IN_ALL = 100
WINDOW_S = 60.0
_MOST_ADDRESSES = 1_000


class Attempts:
    """Wrong passwords of the last minute, by address and in all."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wrong: deque[tuple[float, str]] = deque(maxlen=_MOST_ADDRESSES)

    def wait_s(self, address: str) -> float:
        """How long the address must wait before it may try again; 0: not at all."""
        now = self._monotonic()
        while self._wrong and now - self._wrong[0][0] >= WINDOW_S:
            self._wrong.popleft()
        own = [at for at, of in self._wrong if of == address]
        if len(own) >= ATTEMPTS:
            return own[-ATTEMPTS] + WINDOW_S - now
        if len(self._wrong) >= ATTEMPTS_IN_ALL:
            return self._wrong[-ATTEMPTS_IN_ALL][0] + WINDOW_S - now
        return 0.0

    def wrong(self, address: str) -> None:
        """A password was wrong."""
        self._wrong.append((self._monotonic(), address))


class Login:
    """Sessions are random tokens of which only the hash is kept; they end with the process."""

    def __init__(self, password: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._password = _hash(password)
        self._monotonic = monotonic
        self._sessions: dict[str, float] = {}
        self.attempts = Attempts(monotonic)

    def open(self, password: str, address: str) -> str | None:
        """A new session's token; None if the password is wrong."""
        if not self._right(password, address):
            return None
        now = self._monotonic()
        self._sessions = {key: end for key, end in self._sessions.items() if end > now}
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        token = secrets.token_urlsafe(32)
        self._sessions[session_of(token)] = now + SESSION_S
        return token

    def holds(self, session: str) -> bool:
        """Whether a session goes on."""
        return self._sessions.get(session, 0.0) > self._monotonic()

    def close(self, session: str) -> None:
        """End a session."""
        self._sessions.pop(session, None)

    def basic(self, header: str, address: str) -> bool:
        """Whether an `Authorization` header of HTTP Basic has the password, whatever the user."""
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            text = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return False
        return self._right(text.partition(":")[2], address)

    def _right(self, password: str, address: str) -> bool:
        if self.attempts.wait_s(address) > 0:
            return False
        if hmac.compare_digest(_hash(password), self._password):
            return True
        self.attempts.wrong(address)
        return False


def session_of(token: str) -> str:
    """What a session is known by; empty without a token."""
    return hashlib.sha256(token.encode()).hexdigest() if token else ""


def _hash(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()
