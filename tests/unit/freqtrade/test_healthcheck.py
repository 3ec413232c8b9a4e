"""The health check tells a turning loop from everything else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import healthcheck

LOGIN = "squeezeflow:secret"
NOW = 1_800_000_000.0


class Api:
    """What freqtrade's API would answer."""

    def __init__(self) -> None:
        self.ping: Any = {"status": "pong"}
        self.health: Any = {"last_process_ts": int(NOW) - 1}
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.headers.get("Authorization", "") == "Basic c3F1ZWV6ZWZsb3c6c2VjcmV0"
                is_ping = self.path == "/api/v1/ping"
                self.send_response(200 if is_ping or known else 401)
                self.end_headers()
                self.wfile.write(json.dumps(api.ping if is_ping else api.health).encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    thread = threading.Thread(target=api.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield api
    api.server.shutdown()
    api.server.server_close()
    thread.join()


def test_turning_loop_is_healthy(api: Api) -> None:
    assert healthcheck.check(api.url, LOGIN, NOW) == 1.0


@pytest.mark.parametrize(
    ("health", "complaint"),
    [
        ({"last_process_ts": int(NOW) - 31}, "has not turned for 31 s"),
        ({"last_process_ts": None}, "has not turned yet"),
    ],
)
def test_standing_loop_is_unhealthy(api: Api, health: Any, complaint: str) -> None:
    api.health = health
    with pytest.raises(healthcheck.Unhealthy, match=complaint):
        healthcheck.check(api.url, LOGIN, NOW)


def test_another_service_on_the_port_is_unhealthy(api: Api) -> None:
    api.ping = {"status": "other"}
    with pytest.raises(healthcheck.Unhealthy, match="something else"):
        healthcheck.check(api.url, LOGIN, NOW)


def test_wrong_password_is_unhealthy(api: Api) -> None:
    with pytest.raises(healthcheck.Unhealthy, match="401"):
        healthcheck.check(api.url, "squeezeflow:wrong", NOW)


def test_password_comes_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("from-file\n")
    monkeypatch.setenv("FREQTRADE_API_PASSWORD", "")
    monkeypatch.setenv("FREQTRADE_API_PASSWORD_FILE", str(tmp_path / "password"))
    assert healthcheck.password() == "from-file"
