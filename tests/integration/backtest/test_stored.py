"""The command on bars in a real InfluxDB."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aggr_server.influx import InfluxClient
from aggr_server.points import BARS, bar_line, gap_line, market_line
from aggr_server.settings import Connections
from aggr_server.wire import Bar, Gap
from services.backtest import command
from services.influx_signal_manager import iso
from tests.integration.trading.harness import recent_start
from tests.unit.backtest import offline
from tests.unit.strategy import scenarios
from tests.unit.strategy.scenarios import LEAD_S

ROOT = Path(__file__).resolve().parents[3]
EXACT = ("--fee", "0", "--slippage-bp", "0", "--delay-s", "0", "--no-report", "--quiet")
ENTRY_S, EXIT_S = LEAD_S + 3146, LEAD_S + 5613


class Stored:
    """S1, stored from second `first` on; seconds count from its start."""

    def __init__(self, connections: Connections, environ: dict[str, str]) -> None:
        self._connections = connections
        self.environ = environ
        self.start = recent_start()
        source = scenarios.generate(scenarios.SCENARIOS["S1"])
        source = type(source)(**{**vars(source), "start": self.start})
        self.bars = [
            Bar(t, b.market.market, o, h, low, c, buy, sell, 1, 1, 0.0, 0.0)
            for b in offline.bars_of(source)
            for t, o, h, low, c, buy, sell in zip(
                b.t.tolist(),
                *(v.tolist() for v in (b.open, b.high, b.low, b.close, b.buy, b.sell)),
                strict=True,
            )
        ]
        self.end = self.start + len(source)

    def write(self, first: int = 0, gaps: tuple[Gap, ...] = ()) -> None:
        asyncio.run(self._write(first, gaps))

    async def _write(self, first: int, gaps: tuple[Gap, ...]) -> None:
        lines = [bar_line(bar) for bar in self.bars if bar.time >= self.start + first]
        async with InfluxClient(self._connections) as influx:
            known = [market_line(m, self.start) for m in (offline.SPOT, offline.PERP)]
            await influx.write(known + [gap_line(gap) for gap in gaps])
            for i in range(0, len(lines), 3000):
                await influx.write(lines[i : i + 3000], retention_policy=BARS.retention_policy)

    def options(self, from_s: int, json_file: Path) -> list[str]:
        times = ("--from", iso((self.start + from_s) * 1000), "--to", str(self.end))
        return ["--symbol", "BTC", *times, *EXACT, "--json", str(json_file)]

    def run(self, from_s: int, folder: Path, *more: str) -> dict[str, Any]:
        path = folder / "result.json"
        assert command.main([*self.options(from_s, path), *more], self.environ) == 0
        result: dict[str, Any] = json.loads(path.read_bytes())
        return result


@pytest.fixture
def stored(connections: Connections, connection_env: dict[str, str]) -> Stored:
    return Stored(connections, connection_env)


def seconds_of(result: dict[str, Any], stored: Stored) -> list[tuple[int, int]]:
    return [
        (t["entry_ms"] // 1000 - stored.start, t["exit_ms"] // 1000 - stored.start)
        for t in result["trades"]
    ]


def test_the_command_trades_what_is_stored(stored: Stored, tmp_path: Path) -> None:
    stored.write()
    path = tmp_path / "result.json"
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "scripts" / "backtest.py"),
            *stored.options(LEAD_S, path),
            "--environment",
        ],
        env={**os.environ, **stored.environ},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(path.read_bytes())
    assert seconds_of(result, stored) == [(ENTRY_S, EXIT_S)]
    assert [s["outcome"] for s in result["signals"]] == ["profitable"] * 2
    (source,) = result["sources"]
    assert source["kind"] == "influxdb"
    assert source["execution_market"] == offline.PERP.market
    assert source["history_min"] == 120
    assert source["warm_from_s"] <= stored.start + LEAD_S


def test_the_database_and_a_file_of_the_same_bars_give_the_same(
    stored: Stored, tmp_path: Path
) -> None:
    stored.write()
    path = tmp_path / "bars.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "market", "open", "high", "low", "close", "vbuy", "vsell"])
        for b in stored.bars:
            writer.writerow([b.time, b.market, b.open, b.high, b.low, b.close, b.vbuy, b.vsell])
    database = stored.run(LEAD_S, tmp_path)
    files = stored.run(LEAD_S, tmp_path, "--bars", str(path))
    assert database["trades"]
    for part in ("trades", "signals", "spans", "curve", "metrics"):
        assert database[part] == files[part], part


def test_missing_seconds_are_said_and_the_rest_is_used(stored: Stored, tmp_path: Path) -> None:
    stored.write(first=3600)
    result = stored.run(0, tmp_path)
    begins = iso((stored.start + 3600) * 1000)
    (note,) = (w for w in result["warnings"] if "one-second bars begin" in w)
    assert begins in note
    assert "INFLUX_RETENTION_1S" in note
    assert result["sources"][0]["data_from_s"] == stored.start + 3600
    assert result["sources"][0]["warm_from_s"] >= stored.start + 3600 + 269 * 60
    assert seconds_of(result, stored)[0][0] == pytest.approx(ENTRY_S, abs=60)


def test_without_a_start_all_that_is_stored_is_used(stored: Stored, tmp_path: Path) -> None:
    stored.write(first=3590)
    path = tmp_path / "result.json"
    options = ["--symbol", "BTC", "--to", str(stored.end), *EXACT, "--json", str(path)]
    assert command.main(options, stored.environ) == 0
    result = json.loads(path.read_bytes())
    assert result["from_s"] == result["sources"][0]["data_from_s"] == stored.start + 3600
    assert not [w for w in result["warnings"] if "one-second bars begin" in w]
    assert seconds_of(result, stored)[0][0] == pytest.approx(ENTRY_S, abs=60)


def test_a_time_without_any_second_is_refused(
    stored: Stored, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.write(first=7200)
    options = stored.options(0, tmp_path / "r.json")
    options[options.index("--to") + 1] = str(stored.start + 3600)
    assert command.main(options, stored.environ) == command.FAILED
    error = capsys.readouterr().err
    assert "no one-second bars before" in error
    assert iso((stored.start + 7200) * 1000) in error


def test_a_symbol_the_database_does_not_know_is_refused(
    stored: Stored, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.write(first=25_000)
    options = stored.options(0, tmp_path / "r.json")
    options[1] = "DOGE"
    assert command.main(options, stored.environ) == command.FAILED
    assert "InfluxDB knows no market of DOGE" in capsys.readouterr().err


def test_no_entry_is_made_in_a_recorded_gap(stored: Stored, tmp_path: Path) -> None:
    begin = stored.start + LEAD_S + 3000
    stored.write(gaps=(Gap(offline.SPOT.market, begin, begin + 600, "silence"),))
    result = stored.run(LEAD_S, tmp_path)
    assert result["sources"][0]["gaps_s"] == 600
    assert all(not begin <= s["ts_ms"] // 1000 < begin + 600 for s in result["signals"])


def test_a_database_that_is_not_set_up_is_named(
    stored: Stored, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {**stored.environ, "INFLUX_DATABASE": "nowhere"}
    assert command.main(stored.options(0, tmp_path / "r.json"), environ) == command.FAILED
    assert capsys.readouterr().err.startswith("backtest.py: database not found: nowhere")
