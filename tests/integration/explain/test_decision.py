from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aggr_server.influx import InfluxClient
from aggr_server.points import BARS, gap_line
from aggr_server.wire import Gap
from services.core.settings import StrategySettings
from services.explain.decision import explain
from services.explain.page import document
from services.explain.store import ExplainError, find
from services.explain.text import text
from services.strategy.params import Params
from tests.integration.backtest.recording import Recorded, record
from tests.integration.children import bare
from tests.integration.servers import free_port

ROOT = Path(__file__).resolve().parents[3]


def now_s() -> int:
    return int(time.time())


def command(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which inherits nothing but PATH."""
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "explain.py"), "--environment", *arguments],
        env={**bare(), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


async def test_entry_and_exit_come_out_the_same(
    influx: InfluxClient, connection_env: dict[str, str], tmp_path: Path
) -> None:
    recorded: Recorded = await record(influx, "S2")
    entry = await explain(influx, StrategySettings(), recorded.entry_id[:8], now_s())
    assert entry.rebuilt.t == recorded.entry_t
    assert entry.comparison.verdict == "same", text(entry)
    phases = {row.phase for row in entry.comparison.rows if row.equality == "same"}
    assert phases >= {"context", "divergence", "reset", "score"}

    closing = await explain(influx, StrategySettings(), recorded.exit_id, now_s())
    assert closing.rebuilt.t == recorded.exit_t
    assert closing.comparison.verdict == "same", text(closing)
    assert not closing.rebuilt.adopted
    drawn = document(closing).markets[0]
    assert {span.phase for span in drawn.spans} >= {"DIVERGENCE", "RESET", "IN_POSITION"}

    page = tmp_path / "why.html"
    done = command(connection_env, recorded.entry_id[:8], "--html", str(page))
    assert done.returncode == 0, done.stderr
    assert "comes out the same" in done.stdout
    assert "4 Score and trigger" in done.stdout
    assert page.stat().st_size < 1_500_000
    said: dict[str, Any] = json.loads(command(connection_env, recorded.exit_id, "--json").stdout)
    assert (said["verdict"], said["rebuilt_s"]) == ("same", recorded.exit_t)


async def test_the_parameters_of_then_are_used(influx: InfluxClient) -> None:
    recorded = await record(influx, "S2", Params(min_score=3.0, ready_confirm_s=9))
    entry = await explain(influx, StrategySettings(), recorded.entry_id, now_s())
    assert entry.rebuilt.params.ready_confirm_s == 9
    assert entry.comparison.verdict == "same", text(entry)


async def test_bars_that_have_changed_since_show_and_are_explained(
    influx: InfluxClient,
) -> None:
    recorded = await record(influx, "S2")
    # A market's bars of the last ten minutes before the decision are lost, and its gap is known.
    gone_s = recorded.entry_t - 600
    name = "VENUE_A:btc-usd"
    silent = [
        f"{BARS.measurement},market={name} vbuy=0,vsell=0 {t}"
        for t in range(gone_s, recorded.entry_t + 1)
    ]
    await influx.write(silent, retention_policy=BARS.retention_policy)
    await influx.write([gap_line(Gap(name, gone_s, recorded.entry_t, "restart"))])
    entry = await explain(influx, StrategySettings(), recorded.entry_id, now_s())
    assert entry.comparison.verdict in ("close", "different")
    assert any("VENUE_A:btc-usd had a gap" in cause for cause in entry.comparison.causes)


async def test_no_id_and_an_unknown_one_name_the_newest(
    influx: InfluxClient, connection_env: dict[str, str]
) -> None:
    with pytest.raises(ExplainError, match="No signal is recorded"):
        await find(influx, "0123abcd")
    env = connection_env
    assert command(env).stdout == "No signal is recorded in this database.\n"
    recorded = await record(influx, "S2")
    listed = command(env)
    assert listed.returncode == 0, listed.stderr
    assert recorded.entry_id in listed.stdout
    assert recorded.exit_id in listed.stdout.splitlines()[-1]
    assert "which signal?" in command(env, "--json").stderr
    with pytest.raises(ExplainError, match=r"begins with ffffffff0.*newest are") as failure:
        await find(influx, "ffffffff0")
    assert recorded.exit_id in str(failure.value)
    with pytest.raises(ExplainError, match="is no signal id"):
        await find(influx, "x' OR 1=1")


def test_without_influxdb_it_says_where_it_looked() -> None:
    port = free_port()
    done = command({"INFLUX_PORT": str(port)}, "0123abcd")
    assert done.returncode == 1
    assert f"InfluxDB does not answer at 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_not_set_up_is_named(connection_env: dict[str, str]) -> None:
    done = command({**connection_env, "INFLUX_DATABASE": "nowhere"}, "0123abcd")
    assert done.returncode == 1
    assert done.stderr.startswith("database not found: nowhere")
    assert "run influx-init" in done.stderr
