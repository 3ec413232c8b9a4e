"""The part of a Docker engine's API that is read, with one container whose state a test sets."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import msgspec

SERVICE = "strategy-runner"
LIMIT_BYTES = 1_000_000_000


class Engine:
    """Listens on a port of its own. `health`, `memory_bytes`: of the container."""

    def __init__(self) -> None:
        self.health = "healthy"
        self.memory_bytes = 100_000_000
        handler = type("Handler", (_Handler,), {"engine": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self._server.server_port}"

    def become(self, health: str) -> None:
        self.health = health

    def use(self, percent: float) -> None:
        self.memory_bytes = int(LIMIT_BYTES * percent / 100)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str) -> Any:
        if path.endswith("/version"):
            return {"ApiVersion": "1.41"}
        if path.endswith("/containers/json"):
            labels = {
                "com.docker.compose.project": "squeezeflow",
                "com.docker.compose.service": SERVICE,
            }
            return [{"Id": "a" * 64, "Labels": labels}]
        if path.endswith("/stats"):
            return {"memory_stats": {"usage": self.memory_bytes, "stats": {}}, "cpu_stats": {}}
        return {
            "State": {"Status": "running", "Running": True, "Health": {"Status": self.health}},
            "RestartCount": 0,
            "HostConfig": {"Memory": LIMIT_BYTES},
        }


class _Handler(BaseHTTPRequestHandler):
    engine: ClassVar[Engine]

    def do_GET(self) -> None:
        data = msgspec.json.encode(self.engine.answer(self.path.split("?")[0]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""
