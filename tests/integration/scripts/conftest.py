from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.operator.place import Place, exchanges, messages, native

REFUSED = {"api.binance.com": 451, "api.bybit.com": 403, "api.exchange.coinbase.com": 500}
OFF_MS = 5000


class Exchanges(BaseHTTPRequestHandler):
    """All of them behind one gateway; some refuse, and their clocks are `OFF_MS` behind ours."""

    def do_GET(self) -> None:
        host = self.path.split("/")[1]
        status = REFUSED.get(host, 200)
        body = json.dumps({"serverTime": time.time_ns() // 1_000_000 - OFF_MS}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Not in the tests' output."""


@pytest.fixture
def gateway() -> Iterator[str]:
    """Where all exchanges are reached."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Exchanges) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """An empty folder whose path leaves room for the supervisor's socket in it."""
    with tempfile.TemporaryDirectory(prefix="sf-") as folder:
        yield Path(folder)


@pytest.fixture
def place(short_path: Path) -> Iterator[Place]:
    """A clone in which nothing runs yet, whose exchanges are simulated."""
    with exchanges(short_path) as venues, messages() as channel:
        made = native(short_path, venues, channel)
        try:
            yield made
        finally:
            made.run("./scripts/down.sh")
