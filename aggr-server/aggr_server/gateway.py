"""Exchanges behind a gateway: their host becomes the first part of the gateway's path."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit


def through_gateway(url: str, gateway: str) -> str:
    """`https://HOST[:port]/path` -> `GATEWAY/HOST/path`, `wss://` likewise with a ws scheme.

    The scheme's security is the gateway's own; the exchange's port is dropped. An empty gateway
    leaves the URL as it is.
    """
    if not gateway:
        return url
    exchange, front = urlsplit(url), urlsplit(gateway)
    secure = "s" if front.scheme == "https" else ""
    scheme = ("ws" if exchange.scheme in ("ws", "wss") else "http") + secure
    query = f"?{exchange.query}" if exchange.query else ""
    path = front.path.rstrip("/")
    return f"{scheme}://{front.netloc}{path}/{exchange.hostname}{exchange.path}{query}"


def through_all(value: Any, gateway: str) -> Any:
    """`through_gateway` for every URL in nested dicts and lists; anything else stays as it is."""
    if isinstance(value, dict):
        return {key: through_all(item, gateway) for key, item in value.items()}
    if isinstance(value, list):
        return [through_all(item, gateway) for item in value]
    if isinstance(value, str) and value.startswith(("http://", "https://", "ws://", "wss://")):
        return through_gateway(value, gateway)
    return value
