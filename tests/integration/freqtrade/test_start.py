"""What start.sh refuses: one clear line, and a status that is not zero."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from tests.integration.freqtrade.bot import ROOT, START, environ
from tests.integration.freqtrade.exchange import Exchange
from tests.integration.servers import free_port

pytestmark = pytest.mark.timeout(180)
CONFIG = ROOT / "freqtrade" / "config" / "config.json"


def start(folder: Path, **changes: str) -> tuple[int, list[str]]:
    """Status and lines of a start that is expected to fail."""
    values = environ(folder, free_port(), "http://127.0.0.1:1", free_port())
    values.update({"FREQTRADE__EXCHANGE__CCXT_CONFIG__RATELIMIT": "1", **changes})
    result = subprocess.run(
        [str(START)], env=values, capture_output=True, text=True, timeout=150, check=False
    )
    return result.returncode, (result.stdout + result.stderr).splitlines()


def test_missing_secret_is_named(tmp_path: Path) -> None:
    status, lines = start(tmp_path, FREQTRADE_JWT_SECRET_FILE="")
    assert status == 78
    assert lines == [
        "freqtrade: FREQTRADE_JWT_SECRET is not set. Put a random one of at least 32 characters "
        "into the file FREQTRADE_JWT_SECRET_FILE."
    ]


def test_secret_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    status, lines = start(tmp_path, FREQTRADE_API_PASSWORD_FILE=str(tmp_path / "nowhere"))
    assert status == 78
    assert len(lines) == 1
    assert "FREQTRADE_API_PASSWORD" in lines[0]
    assert str(tmp_path / "nowhere") in lines[0]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"FREQTRADE_API_PASSWORD": "short"}, "FREQTRADE_API_PASSWORD has only 5 characters"),
        ({"FREQTRADE_API_PASSWORD": "squeezeflow123"}, "is a publicly known default"),
        ({"FREQTRADE_JWT_SECRET": "x" * 31}, "FREQTRADE_JWT_SECRET has only 31 characters"),
        ({"FREQTRADE_API_USERNAME": "1"}, "FREQTRADE_API_USERNAME must be of letters"),
        ({"FREQTRADE_MAX_LEVERAGE": "ten"}, "FREQTRADE_MAX_LEVERAGE='ten'"),
        ({"REDIS_PORT": "0"}, "REDIS_PORT='0'"),
        ({"FREQTRADE__DRY_RUN": "perhaps"}, "dry_run is 'perhaps'"),
        ({"FREQTRADE__DRY_RUN": "false"}, "FREQTRADE_EXCHANGE_KEY is not set, but dry_run is"),
    ],
)
def test_unsafe_value_is_refused(tmp_path: Path, changes: dict[str, str], complaint: str) -> None:
    status, lines = start(tmp_path, **changes)
    assert status == 78
    assert len(lines) == 1
    assert complaint in lines[0]


def test_broken_config_is_named_with_file_and_line(tmp_path: Path) -> None:
    broken = tmp_path / "config.json"
    text = CONFIG.read_text()
    broken.write_text(text.replace('"margin_mode": "isolated",', '"margin_mode": "isolated"'))
    line = text.splitlines().index('  "margin_mode": "isolated",') + 2
    status, lines = start(tmp_path, FREQTRADE_CONFIG=str(broken))
    assert status == 78
    assert len(lines) == 1
    assert lines[0].startswith(f"freqtrade: {broken}, line {line}: ")


def test_config_that_freqtrade_refuses_is_a_failure(tmp_path: Path, exchange: Exchange) -> None:
    bad = tmp_path / "config.json"
    text = CONFIG.read_text()
    bad.write_text(text.replace('"process_throttle_secs": 0', '"process_throttle_secs": 0.2'))
    gateway = {"FREQTRADE__EXCHANGE__CCXT_CONFIG__URLS__API__fapiPublic": exchange.url}
    status, lines = start(tmp_path, FREQTRADE_CONFIG=str(bad), **gateway)
    assert status == 78
    assert any("0.2 is not of type 'integer'" in line for line in lines)
    assert lines[-1].startswith("freqtrade: it refused its configuration")


def test_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, lines = start(tmp_path, FREQTRADE__API_SERVER__LISTEN_PORT=str(port))
    assert status == 78
    assert len(lines) == 1
    assert f"the API cannot listen on 127.0.0.1:{port}" in lines[0]


def test_unreachable_exchange_is_a_failure(tmp_path: Path) -> None:
    status, lines = start(tmp_path)
    assert status == 2
    assert any("Could not load markets" in line for line in lines)


def test_missing_freqtrade_is_named(tmp_path: Path) -> None:
    status, lines = start(tmp_path, FREQTRADE_BIN="/nowhere/freqtrade")
    assert status == 78
    assert lines == [
        "freqtrade: command not found: /nowhere/freqtrade. Install freqtrade or set FREQTRADE_BIN."
    ]


def test_config_holds_no_secret_and_trades_dry() -> None:
    text = CONFIG.read_text()
    assert '"dry_run": true' in text
    for name in ("password", "jwt_secret_key", "ws_token", "telegram"):
        assert name not in text
