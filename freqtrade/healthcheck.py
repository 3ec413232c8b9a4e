#!/usr/bin/env python3
"""Health check of freqtrade: its API answers and its loop turns. Standard library only."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

LONGEST_TURN_S = 30.0
TIMEOUT_S = 5.0


class Unhealthy(Exception):
    """freqtrade does not do its work."""


def password() -> str:
    """From FREQTRADE_API_PASSWORD, or the file FREQTRADE_API_PASSWORD_FILE names."""
    if value := os.environ.get("FREQTRADE_API_PASSWORD", "").strip():
        return value
    path = os.environ.get("FREQTRADE_API_PASSWORD_FILE", "").strip()
    return Path(path).read_text(encoding="utf-8").strip() if path else ""


def get(url: str, login: str = "") -> Any:
    """The JSON answer to a GET; `login` is `user:password`. Raises `OSError`, `ValueError`."""
    request = urllib.request.Request(url)
    if login:
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        return json.load(answer)


def check(base_url: str, login: str, now: float) -> float:
    """Seconds since the loop last turned. Raises `Unhealthy`."""
    try:
        if get(f"{base_url}/api/v1/ping") != {"status": "pong"}:
            raise Unhealthy(f"{base_url} is answered by something else than freqtrade")
        last = get(f"{base_url}/api/v1/health", login).get("last_process_ts")
    except (OSError, ValueError) as error:
        raise Unhealthy(f"the API at {base_url} does not answer: {error}") from error
    if last is None:
        raise Unhealthy("the loop has not turned yet")
    age_s = now - float(last)
    if age_s > LONGEST_TURN_S:
        raise Unhealthy(f"the loop has not turned for {age_s:.0f} s (stopped, or hanging)")
    return age_s


def main() -> int:
    """0 if healthy, else 1; one line says what was found."""
    base_url = os.environ.get("FREQTRADE_API_URL", "").strip() or "http://127.0.0.1:8080"
    user = os.environ.get("FREQTRADE_API_USERNAME", "").strip() or "squeezeflow"
    try:
        age_s = check(base_url.rstrip("/"), f"{user}:{password()}", time.time())
    except (Unhealthy, OSError) as error:
        print(f"unhealthy: {error}")
        return 1
    print(f"healthy: the loop turned {max(age_s, 0.0):.0f} s ago")
    return 0


if __name__ == "__main__":
    sys.exit(main())
