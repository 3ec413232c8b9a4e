"""The command, from its options to the files it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from services.backtest import command, options
from services.backtest.export import to_json
from services.backtest.result import BacktestResult
from services.market.symbols import symbol_of
from tests.unit.backtest import offline
from tests.unit.strategy import scenarios


@pytest.fixture(scope="session")
def s1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """S1 as a file of bars."""
    path = tmp_path_factory.mktemp("bars") / "s1.csv"
    source = scenarios.generate(scenarios.SCENARIOS["S1"])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "market", "open", "high", "low", "close", "vbuy", "vsell"])
        for b in offline.bars_of(source):
            columns = (b.t, b.open, b.high, b.low, b.close, b.buy, b.sell)
            for t, *values in np.transpose(columns).tolist():
                writer.writerow([int(t), b.market.market, *values])
    return path


def run(*options: str | Path) -> int:
    return command.main([str(option) for option in options], {})


def failing(capsys: pytest.CaptureFixture[str], *options: str | Path) -> str:
    assert run(*options) == command.FAILED
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_bars_in_a_file_give_figures_files_and_a_summary(
    s1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_file, report = tmp_path / "out" / "result.json", tmp_path / "report.html"
    status = run(
        "--symbol", "btc", "--bars", s1, "--json", json_file, "--csv", tmp_path / "csv",
        "--report", report, "--fee", "0", "--slippage-bp", "0", "--delay-s", "0",
    )  # fmt: skip
    assert status == 0
    result = json.loads(json_file.read_bytes())
    (trade,) = result["trades"]
    assert trade["exit_reason"] == "FLOW_REVERSAL_GIVEBACK"
    assert result["metrics"]["trades"] == 1
    assert result["symbols"] == [symbol_of("BTC")]
    with (tmp_path / "csv" / "trades.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["pnl"]) == trade["pnl"]
    assert row["entry_time"].startswith("2026-01-01T06:52:26")
    with (tmp_path / "csv" / "signals.csv").open(encoding="utf-8", newline="") as file:
        assert [s["action"] for s in csv.DictReader(file)] == ["LONG", "CLOSE"]
    assert report.read_text(encoding="utf-8").lower().startswith("<!doctype html")
    out = capsys.readouterr().out
    assert "Trades        1 of 1 signals" in out
    assert "Assumed: fee 0.0000%" in out
    assert "only 1 trades" in out
    assert f"Report: {report}" in out


def test_without_trades_the_tables_keep_their_headers(s1: Path, tmp_path: Path) -> None:
    options = ("--symbol", "BTC", "--bars", s1, "--set", "min_score=10", "--no-report", "--quiet")
    assert run(*options, "--csv", tmp_path) == 0
    for name in ("trades", "signals"):
        (header,) = (tmp_path / f"{name}.csv").read_text(encoding="utf-8").splitlines()
        assert "directional_bias" in header


def test_recorded_trades_run_through_and_say_why_they_decide_nothing(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(recordings.glob("*.csv"))
    assert run("--symbol", "TRX", "--trades", *files, "--json", tmp_path / "r.json",
               "--report", tmp_path / "r.html") == 0  # fmt: skip
    assert "the warm-up takes 270" in capsys.readouterr().out
    result = json.loads((tmp_path / "r.json").read_bytes())
    assert result["sources"][0]["kind"] == "trades"
    assert result["candles"][0]["close"]


def test_the_result_can_be_read_back(s1: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    assert run("--symbol", "BTC", "--bars", s1, "--json", path, "--no-report", "--quiet") == 0
    result = msgspec.json.decode(path.read_bytes(), type=BacktestResult)
    assert to_json(result).strip() == path.read_bytes().strip()


def test_a_sweep_and_a_walk_forward_warn_of_what_they_do(
    s1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    assert run("--symbol", "BTC", "--bars", s1, "--sweep", "min_score=4,6,9", "--walk-forward", "1",
               "--jobs", "1", "--json", path, "--no-report") == 0  # fmt: skip
    out = capsys.readouterr().out
    assert "Overfitting: 3 combinations were tried on the same data" in out
    assert "Result per day" in out
    result = json.loads(path.read_bytes())
    assert [row["values"]["min_score"] for row in result["sweep"]] == [4.0, 6.0, 9.0]
    assert [row["metrics"]["trades"] for row in result["sweep"]] == [1, 1, 0]
    assert len(result["walk_forward"]) == 1


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (("--from", "2026-01-01"), "which symbol"),
        (("--symbol", "BTC/USDT", "--from", "2026-01-01"), "no base symbol"),
        (("--symbol", "BTC", "--from", "yesterday"), "no time; write 2026-11-20"),
        (("--symbol", "BTC", "--from", "2026-01-02", "--to", "2026-01-01"), "is not before --to"),
        (("--symbol", "BTC", "--bars", "/nowhere.csv"), "/nowhere.csv: No such file"),
        (("--symbol", "BTC", "--bars", "x", "--set", "min_scor=1"), "nearest: min_score"),
        (("--symbol", "BTC", "--bars", "x", "--sweep", "cooldown_s=a"), "whole number"),
        (("--symbol", "BTC", "--bars", "x", "--sweep", "cooldown_s=-5"), "must be at least 0"),
        (("--symbol", "BTC", "--bars", "x", "--warm-min", "0"), "warm_min=0"),
        (("--symbol", "BTC", "--bars", "x", "--fee", "5"), "--fee 5: must be between"),
        (("--symbol", "BTC", "--bars", "x", "--walk-forward", "0"), "at least 1"),
        (("--symbol", "BTC", "--trades", "x.csv"), "write --trades EXCHANGE:symbol=FILE"),
    ],
)
def test_a_mistake_is_one_line_with_cause_and_remedy(
    options: tuple[str, ...], cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cause in failing(capsys, *options)


def test_a_database_that_is_away_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    status = command.main(
        ["--symbol", "BTC", "--from", "2026-01-01", "--quiet"], {"INFLUX_PORT": "1"}
    )
    assert status == command.FAILED
    assert "InfluxDB cannot be reached" in capsys.readouterr().err


def test_a_wrong_setting_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    status = command.main(["--symbol", "BTC", "--bars", "x"], {"SQUEEZEFLOW_MIN_SCORE": "11"})
    assert status == command.FAILED
    assert "SQUEEZEFLOW_MIN_SCORE" in capsys.readouterr().err


def test_the_operators_settings_hold_unless_overridden(s1: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    options = ["--symbol", "BTC", "--bars", str(s1), "--json", str(path), "--no-report", "--quiet"]
    environ = {"SQUEEZEFLOW_MIN_SCORE": "9"}
    assert command.main(options, environ) == 0
    result = json.loads(path.read_bytes())
    assert (result["overrides"], result["trades"]) == ({"min_score": 9.0}, [])
    assert command.main([*options, "--set", "min_score=4"], environ) == 0
    assert len(json.loads(path.read_bytes())["trades"]) == 1


def test_parameters_are_listed_with_their_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list-params") == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["min_score"] == "4.0"


def test_a_file_that_cannot_be_written_is_named(
    s1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    line = failing(
        capsys, "--symbol", "BTC", "--bars", s1, "--json", tmp_path / "file" / "r.json", "--quiet"
    )
    assert "r.json" in line


@pytest.mark.parametrize("backfill", [True, False])
def test_candles_are_used_where_strategy_runner_uses_them(backfill: bool, tmp_path: Path) -> None:
    chosen = options.parser().parse_args(["--symbol", "BTC", "--from", "2026-11-20"])
    asked = command._Command(chosen, {"SQUEEZEFLOW_BACKFILL": str(backfill).lower()}, tmp_path)
    assert asked._wanted.backfill is backfill
