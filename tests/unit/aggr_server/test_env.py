from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from aggr_server.env import Secret, SettingsError, load


class Example(msgspec.Struct, frozen=True, kw_only=True):
    influx_host: str
    influx_port: Annotated[int, Meta(ge=1, le=65535, description="a TCP port")] = 8086
    symbols: tuple[str, ...] = ("BTC",)
    enabled: bool = True
    password: Secret = ""


def test_every_type_is_read_from_the_environment() -> None:
    settings = load(
        Example,
        {
            "INFLUX_HOST": "db",
            "INFLUX_PORT": "9",
            "SYMBOLS": "BTC, ETH,",
            "ENABLED": "false",
            "PASSWORD": "hush",
        },
    )
    assert settings == Example(
        influx_host="db", influx_port=9, symbols=("BTC", "ETH"), enabled=False, password="hush"
    )


def test_an_empty_variable_counts_as_unset() -> None:
    assert load(Example, {"INFLUX_HOST": "db", "INFLUX_PORT": " "}).influx_port == 8086


def test_all_problems_are_named_at_once_with_value_meaning_and_remedy() -> None:
    with pytest.raises(SettingsError) as caught:
        load(Example, {"INFLUX_PORT": "70000", "ENABLED": "perhaps"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("INFLUX_HOST is not set")
    assert "INFLUX_PORT='70000'" in lines[1]
    assert "a TCP port" in lines[1]
    assert ".env" in lines[1]
    assert "ENABLED='perhaps'" in lines[2]


def test_a_secret_is_read_from_the_file_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("from-file\n", encoding="utf-8")
    settings = load(Example, {"INFLUX_HOST": "db", "PASSWORD_FILE": str(path)})
    assert settings.password == "from-file"


def test_a_secret_file_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="nowhere"):
        load(Example, {"INFLUX_HOST": "db", "PASSWORD_FILE": missing})


def test_a_plain_setting_is_never_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "host"
    path.write_text("db", encoding="utf-8")
    with pytest.raises(SettingsError, match="INFLUX_HOST is not set"):
        load(Example, {"INFLUX_HOST_FILE": str(path)})


def test_the_value_of_a_bad_secret_is_not_shown() -> None:
    class Strict(msgspec.Struct, frozen=True):
        token: Annotated[str, Meta(min_length=20, extra={"secret": True})]

    with pytest.raises(SettingsError) as caught:
        load(Strict, {"TOKEN": "too-short"})
    assert "too-short" not in str(caught.value)
