from __future__ import annotations

from pathlib import Path

import pytest

from services.backtest.errors import BacktestError
from services.backtest.sources import sample_files
from services.market.history import OI_KNOWN_AFTER_S

T = 1_767_225_600


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_open_interest_is_known_as_late_as_it_is_live(tmp_path: Path) -> None:
    path = write(
        tmp_path / "oi.csv",
        "ts_ms,exchange,coins",
        f"{(T + 60) * 1000},bybit,50",
        f"{T * 1000},BYBIT,40",
        f"{T * 1000},OKX,7",
        f"{T * 1000},OKX,none",
    )
    series, count, notes = sample_files.open_interest([path])
    assert count == 3
    known = T + OI_KNOWN_AFTER_S
    assert series.at(known - 1) == {}
    assert series.at(known + 59) == {"BYBIT": 40.0, "OKX": 7.0}
    assert series.at(known + 60) == {"BYBIT": 50.0, "OKX": 7.0}
    assert "line 5" in notes[0]


def test_funding_comes_in_order_of_time_and_percentages_are_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path / "f.csv", "ts_ms,rate", f"{T + 1},0.0001", f"{T},-0.0002", f"{T + 2},1.5"
    )
    found, notes = sample_files.funding([path])
    assert [tuple(sample) for sample in found] == [(T, -0.0002), (T + 1, 0.0001)]
    assert "no fraction" in notes[0]


def test_a_file_belongs_to_the_only_symbol_or_to_the_named_one() -> None:
    assert sample_files.by_base("--oi", ["a.csv"], ["BTC"]) == {"BTC": [Path("a.csv")]}
    both = sample_files.by_base("--oi", ["btc=a.csv", "ETH=b.csv"], ["BTC", "ETH"])
    assert both == {"BTC": [Path("a.csv")], "ETH": [Path("b.csv")]}
    with pytest.raises(BacktestError, match="which of BTC, ETH"):
        sample_files.by_base("--oi", ["a.csv"], ["BTC", "ETH"])
