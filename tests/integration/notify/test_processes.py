"""system-monitor and the test command as processes, with URLs from a secret file."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from services.core import names
from services.core.records import Heartbeat
from tests.integration.monitor.support import prompt_rules, service_env
from tests.integration.notify.sink import TOKEN, Sink
from tests.integration.notify.support import eventually, fill, report, title
from tests.integration.servers import ROOT

DOWN = "json://127.0.0.1:1/Secret0123456789"


@pytest.fixture
def environ(connection_env: dict[str, str], tmp_path: Path, sink: Sink) -> dict[str, str]:
    (tmp_path / "notify_urls").write_text(f"# where to\n{sink.url}\n{DOWN}\n")
    return service_env(
        connection_env,
        tmp_path,
        LOG_LEVEL="DEBUG",
        MONITOR_INTERVAL_S="1",
        STACK_SERVICES="redis,oi-tracker,system-monitor",
        ALERT_RULES=str(prompt_rules(tmp_path)),
        NOTIFY_URLS_FILE=str(tmp_path / "notify_urls"),
    )


async def monitor(environ: dict[str, str], log: Path) -> Process:
    with log.open("ab") as file:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.system_monitor", env=environ, stdout=file, stderr=STDOUT
        )


async def test_nothing_is_lost_when_the_monitor_is_killed_and_no_secret_is_shown(
    environ: dict[str, str], tmp_path: Path, redis: Redis, sink: Sink
) -> None:
    log = tmp_path / "log"
    sink.answer.clear()
    process = await monitor(environ, log)
    # One is on its way when the process is killed, one comes while there is none.
    await report(redis, fill(1))
    await sink.until_asked(1)
    process.kill()
    await process.wait()
    sink.answer.set()
    sink.received.clear()
    await report(redis, fill(2))
    process = await monitor(environ, log)
    try:
        await eventually(lambda: {title(1), title(2)} <= set(sink.unmarked), timeout_s=25)
        await eventually(lambda: "Critical: service_not_started oi-tracker" in sink.unmarked)
        await eventually(lambda: heartbeat_shows(redis, "json-2", "failing since"))
        assert await heartbeat_shows(redis, "json-1", "ok")
    finally:
        process.terminate()
        assert await process.wait() == 0
    assert sink.unmarked.count("Critical: service_not_started oi-tracker") == 1
    assert sink.unmarked.count(title(2)) == 1
    text = log.read_text()
    assert "messages do not arrive, trying on channel=json-2" in text
    stored = [str(await redis.get(names.heartbeat("system-monitor")))]
    stored += [str(key) for key in await redis.keys("*")]
    for secret in (TOKEN, "Secret0123456789"):
        assert secret not in text + "".join(stored)


async def heartbeat_shows(redis: Redis, channel: str, text: str) -> bool:
    data = await redis.get(names.heartbeat("system-monitor"))
    if data is None:
        return False
    beat = msgspec.json.decode(data, type=Heartbeat)
    shown: str = beat.details["messages"][channel]
    assert beat.status in ("ok", "no messages through json-2")
    return shown.startswith(text)


async def test_a_bad_url_ends_the_start_with_one_clear_line(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "notify_urls").write_text(f"json://127.0.0.1/a\ntelegramm://{TOKEN}\n")
    process = await monitor(environ, tmp_path / "log")
    assert await process.wait() == 78
    lines = [x for x in (tmp_path / "log").read_text().splitlines() if "NOTIFY_URLS" in x]
    assert len(lines) == 1
    assert "URL 2 of 2 (telegramm://...)" in lines[0]
    assert TOKEN not in (tmp_path / "log").read_text()


async def test_rules_that_cannot_be_used_end_the_start_with_one_clear_line(
    environ: dict[str, str], tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[disk_full]\nabov = 90\n")
    process = await monitor({**environ, "ALERT_RULES": str(own)}, tmp_path / "log")
    assert await process.wait() == 78
    lines = [x for x in (tmp_path / "log").read_text().splitlines() if "level=" not in x]
    assert len(lines) == 1
    assert lines[0].startswith(
        f"system-monitor: ALERT_RULES={own}: rule disk_full: Object contains"
    )
    assert lines[0].endswith("Correct the file; services/monitor/rules.toml explains every key.")


async def notify_test(environ: dict[str, str]) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "scripts" / "notify_test.py"),
        "--environment",
        env=environ,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_test_command_sends_one_of_each_kind_and_says_what_worked(
    environ: dict[str, str], tmp_path: Path, sink: Sink
) -> None:
    status, output = await notify_test(environ)
    assert status == 1
    lines = output.splitlines()
    working = [line for line in lines if line.startswith("json-1: ")]
    assert len(working) == 8
    assert re.fullmatch(
        r"json-1: Critical: service_down strategy-runner: sent in \d.\d\d s", working[5]
    )
    assert working[-1] == "json-1: all 7 messages sent"
    broken = [line for line in lines if line.startswith("json-2: ")]
    assert broken[0].startswith("json-2: LONG BTCUSDT opened: FAILED: A Connection error occurred")
    assert broken[1].startswith("json-2: stopped after 0 messages. Check its URL")
    assert TOKEN not in output
    assert [(m.title.removeprefix("Test: "), m.tone) for m in sink.received] == [
        ("LONG BTCUSDT opened", "info"),
        ("LONG BTCUSDT closed, +4.13 USDT", "success"),
        ("LONG BTCUSDT refused: price_deviation", "warning"),
        ("Info: lease_taken strategy-runner", "info"),
        ("Warning: disk_nearly_full /", "warning"),
        ("Critical: service_down strategy-runner", "failure"),
        ("Over: service_down strategy-runner", "success"),
    ]
    (tmp_path / "notify_urls").write_text(sink.url)
    assert (await notify_test(environ))[0] == 0


async def test_the_test_command_says_what_to_set(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "notify_urls").write_text("\n")
    status, output = await notify_test(environ)
    assert status == 1
    assert "Write Apprise URLs into secrets/notify_urls" in output
    assert len(output.splitlines()) == 1
