"""freqtrade's configuration is read as freqtrade reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.live import config

ROOT = Path(__file__).resolve().parents[4]
SHIPPED = ROOT / "freqtrade" / "config" / "config.json"


def test_shipped_file_is_read_and_trades_simulated_money() -> None:
    document = config.read(SHIPPED, {})
    assert document["dry_run"] is True
    assert document["order_types"]["stoploss_on_exchange"] is True
    assert document["exchange"]["ccxt_config"]["options"]["fetchMarkets"] == {"types": ["linear"]}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1} // end',
        '{"a": /* in between */ 1}',
        '{"a": 1, // last\n}',
        '{"a": 1,}',
        '{\n// "a": 2,\n"a": 1 /* , */ , }',
    ],
)
def test_comments_and_commas_at_the_end_are_allowed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    assert config.read(path, {}) == {"a": 1}


@pytest.mark.parametrize("text", ["https://host/x", "a,]", "/* no */", 'quote " // more', "\\"])
def test_texts_are_left_alone(text: str) -> None:
    import json

    assert json.loads(config.plain(json.dumps({"a": text}))) == {"a": text}


@pytest.mark.parametrize("text", ["", "[]", "{'a': 1}", '{"a": 1'])
def test_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(config.BadConfig, match=str(path)):
        config.read(path, {})


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        ("false", False),
        ("True", True),
        ("12", 12),
        ("0.5", 0.5),
        ("unlimited", "unlimited"),
        ('["linear"]', ["linear"]),
        ('{"a": 1}', '{"a": 1}'),
    ],
)
def test_variables_are_typed_by_their_look(value: str, typed: object) -> None:
    assert config.overridden({}, {"FREQTRADE__STAKE_AMOUNT": value}) == {"stake_amount": typed}


def test_variable_goes_over_the_file_and_keeps_what_is_beside_it() -> None:
    given = {"exchange": {"name": "binance", "ccxt_config": {"urls": {"api": {"sapi": "x"}}}}}
    url = "FREQTRADE__EXCHANGE__CCXT_CONFIG__URLS__API__fapiPublic"
    changed = config.overridden(
        given, {url: "http://h", "FREQTRADE__EXCHANGE__KEY": "", "PATH": "/"}
    )
    api = {"sapi": "x", "fapiPublic": "http://h"}
    assert changed == {"exchange": {"name": "binance", "ccxt_config": {"urls": {"api": api}}}}
    assert given["exchange"]["ccxt_config"] == {"urls": {"api": {"sapi": "x"}}}
