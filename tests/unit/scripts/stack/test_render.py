from __future__ import annotations

import configparser
import tomllib
from pathlib import Path

import pytest

from scripts.stack import render
from scripts.stack.layout import Layout
from scripts.stack.render import Program
from scripts.stack.running import StackError
from scripts.stack.settings import StackSettings

ROOT = Path(__file__).resolve().parents[4]
LAYOUT = Layout(Path("/sf 100%"), demo=True)


def _supervisord(*programs: Program) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(render.supervisord_conf(LAYOUT, programs, ["python", "-m", "reviver"]))
    return parser


def test_a_service_is_always_restarted_and_ends_with_its_children() -> None:
    section = _supervisord(Program("a", ["a"], 10))["program:a"]
    assert section["autorestart"] == "true"
    assert section["stopasgroup"] == section["killasgroup"] == "true"
    assert section["autostart"] == "false"


def test_a_one_shot_service_is_not_restarted() -> None:
    section = _supervisord(Program("a", ["a"], 10, one_shot=True))["program:a"]
    assert section["autorestart"] == "false"


def test_the_socket_is_private_and_logs_are_rotated() -> None:
    config = _supervisord(Program("a", ["a"], 10))
    assert config["unix_http_server"]["chmod"] == "0700"
    assert config["program:a"]["stdout_logfile_maxbytes"] == "10MB"


def test_percent_signs_and_spaces_survive() -> None:
    section = _supervisord(Program("a", ["a", "100% b"], 10))["program:a"]
    assert section["command"] == "a '100%% b'"
    assert section["directory"] == "/sf 100%%"


def test_influxdb_is_bounded_authenticated_and_on_loopback() -> None:
    config = tomllib.loads(render.influxd_conf(LAYOUT, StackSettings(), auth=True))
    assert config["bind-address"].startswith("127.0.0.1:")
    assert config["http"]["bind-address"] == "127.0.0.1:8086"
    assert config["http"]["auth-enabled"] is True
    assert config["data"]["index-version"] == "tsi1"
    assert config["reporting-disabled"] is True
    assert config["coordinator"]["query-timeout"] == "60s"


def test_redis_quotes_the_password() -> None:
    text = render.redis_conf(LAYOUT, StackSettings(), 'a"b\\c')
    assert r'requirepass "a\"b\\c"' in text.splitlines()


def test_without_a_password_redis_asks_for_none() -> None:
    assert "requirepass" not in render.redis_conf(LAYOUT, StackSettings(), "")


def test_a_path_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="too long"):
        Layout(tmp_path / ("x" * 90), demo=True).prepare()


def test_a_demo_start_forgets_the_last_one_and_leaves_live_data_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where temporary folders are is no matter of the layout.
    monkeypatch.setattr("scripts.stack.layout.LONGEST_SOCKET_PATH", 1_000)
    demo, live = Layout(tmp_path, demo=True), Layout(tmp_path, demo=False)
    for layout in (demo, live):
        layout.prepare()
        (layout.data / "redis" / "dump.rdb").touch()
    demo.prepare()
    live.prepare()
    assert not (demo.data / "redis" / "dump.rdb").exists()
    assert (live.data / "redis" / "dump.rdb").exists()


def test_redis_takes_no_command_that_ends_it_or_hands_its_data_on() -> None:
    text = render.redis_conf(LAYOUT, StackSettings(), "secret")
    container = (ROOT / "docker" / "redis.conf").read_text(encoding="utf-8")
    for command in ("FLUSHALL", "FLUSHDB", "DEBUG", "SHUTDOWN", "REPLICAOF", "MIGRATE", "MODULE"):
        assert f'rename-command {command} ""\n' in text
        assert f'rename-command {command} ""\n' in container
