"""The exchange gateway for libraries that keep their addresses in nested tables."""

from __future__ import annotations

from typing import Any

from aggr_server.gateway import through_gateway


def through_all(value: Any, gateway: str) -> Any:
    """`through_gateway` for every URL in nested dicts and lists; anything else stays as it is."""
    if isinstance(value, dict):
        return {key: through_all(item, gateway) for key, item in value.items()}
    if isinstance(value, list):
        return [through_all(item, gateway) for item in value]
    if isinstance(value, str) and value.startswith(("http://", "https://", "ws://", "wss://")):
        return through_gateway(value, gateway)
    return value
