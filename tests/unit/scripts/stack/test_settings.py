from __future__ import annotations

import pytest

from scripts.stack.running import StackError
from scripts.stack.settings import merged, setting_names, validate


def test_defaults_are_valid() -> None:
    assert validate({}).redis_port == 6379


def test_every_bad_value_of_every_service_is_named_once() -> None:
    bad = {
        "REDIS_PORT": "seventy",
        "AGGR_GRACE_MS": "-1",
        "SQUEEZEFLOW_TIMEFRAME": "7m",
        "REDIS_MAXMEMORY": "2 gb",
    }
    with pytest.raises(StackError) as caught:
        validate(bad)
    lines = str(caught.value).splitlines()
    assert sorted(line.partition("=")[0] for line in lines) == sorted(bad)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"AGGR_EXCHANGES": "BINANSE"}, r"AGGR_EXCHANGES: exchange 'BINANSE' is not known"),
        ({"AGGR_EXCHANGES": "FTX"}, r"AGGR_EXCHANGES: FTX closed on 2022-11-11"),
        ({"AGGR_MARKETS": "btcusdt"}, r"AGGR_MARKETS: 'btcusdt' is no market"),
    ],
)
def test_exchanges_that_cannot_be_collected_are_named(given: dict[str, str], said: str) -> None:
    with pytest.raises(StackError, match=said):
        validate(given)


def test_a_bad_secret_is_not_shown() -> None:
    with pytest.raises(StackError) as caught:
        validate({"REDIS_PASSWORD_FILE": "/nowhere/at/all"})
    assert "REDIS_PASSWORD=(hidden)" in str(caught.value)


def test_the_shell_wins_over_the_file_unless_empty() -> None:
    assert merged({"A": "file", "B": "file"}, {"A": "shell", "B": ""}) == {
        "A": "shell",
        "B": "file",
    }


def test_secrets_are_known_by_value_and_by_file() -> None:
    assert {"REDIS_PASSWORD", "REDIS_PASSWORD_FILE", "PORT"} <= setting_names()
    assert "PORT_FILE" not in setting_names()
