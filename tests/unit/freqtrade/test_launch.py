"""What is checked before freqtrade starts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import launch
from services.core.settings import ExecutorSettings

PASSWORD = "a-long-enough-password"
JWT_SECRET = "0123456789" * 4
KEYS = {"freqtrade_exchange_key": "K" * 64, "freqtrade_exchange_secret": "S" * 64}
CONFIG = Path(launch.__file__).parent / "config" / "config.json"


@pytest.fixture(autouse=True)
def _environ(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv(launch.LISTEN_PORT, str(probe.getsockname()[1]))
    for name in ("USERNAME", "PASSWORD", "JWT_SECRET_KEY"):
        monkeypatch.setenv(f"FREQTRADE__API_SERVER__{name}", "")
    for name in launch.EXCHANGE_KEYS.values():
        monkeypatch.setenv(name, "")


def settings(tmp_path: Path, **changes: Any) -> ExecutorSettings:
    """Settings under which freqtrade may start."""
    values = {
        "freqtrade_api_password": PASSWORD,
        "freqtrade_jwt_secret": JWT_SECRET,
        "freqtrade_data_dir": str(tmp_path / "data"),
    }
    return ExecutorSettings(**{**values, **changes})


def test_command_line_names_config_data_and_a_database_for_simulated_trades(
    tmp_path: Path,
) -> None:
    arguments = launch.prepare(settings(tmp_path))
    assert arguments[0] == "trade"
    options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    assert options["--config"] == str(CONFIG)
    assert options["--userdir"] == str(tmp_path / "data")
    assert options["--db-url"] == f"sqlite:///{tmp_path}/data/tradesv3.dryrun.sqlite"
    assert (Path(options["--strategy-path"]) / "SqueezeFlowExecutor.py").is_file()
    assert (tmp_path / "data").is_dir()


def test_real_trades_have_a_database_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(launch.DRY_RUN, "false")
    assert launch.prepare(settings(tmp_path, **KEYS))[-1].endswith("/tradesv3.sqlite")


def test_keys_of_the_exchange_are_handed_over_for_real_money_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch.prepare(settings(tmp_path, **KEYS))
    assert [os.environ.get(name, "") for name in launch.EXCHANGE_KEYS.values()] == ["", ""]
    monkeypatch.setenv(launch.DRY_RUN, "false")
    launch.prepare(settings(tmp_path, **KEYS))
    handed = [os.environ[name] for name in launch.EXCHANGE_KEYS.values()]
    assert handed == list(KEYS.values())


@pytest.mark.parametrize("missing", KEYS)
def test_real_money_without_both_keys_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setenv(launch.DRY_RUN, "false")
    with pytest.raises(launch.Refused) as refused:
        launch.prepare(settings(tmp_path, **{**KEYS, missing: ""}))
    name = missing.upper()
    assert str(refused.value) == (
        f"{name} is not set, but dry_run is false. Put it into the file {name}_FILE "
        f"(secrets/{missing}), or trade simulated money: FREQTRADE__DRY_RUN=true."
    )


def test_keys_given_by_freqtrades_own_variables_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(launch.DRY_RUN, "false")
    for variable, value in zip(launch.EXCHANGE_KEYS.values(), KEYS.values(), strict=True):
        monkeypatch.setenv(variable, value)
    launch.prepare(settings(tmp_path))
    assert [os.environ[name] for name in launch.EXCHANGE_KEYS.values()] == list(KEYS.values())


@pytest.mark.parametrize("value", ["0123456789", "1e5", "nan"])
def test_key_that_freqtrade_would_take_for_a_number_is_refused_without_showing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(launch.DRY_RUN, "false")
    with pytest.raises(launch.Refused, match="FREQTRADE_EXCHANGE_KEY is a number") as refused:
        launch.prepare(settings(tmp_path, **{**KEYS, "freqtrade_exchange_key": value}))
    assert value not in str(refused.value)


def test_second_process_on_the_same_data_is_refused_with_the_first_ones_pid(
    tmp_path: Path,
) -> None:
    lock = launch.hold(tmp_path)
    program = "import launch, pathlib, sys; launch.hold(pathlib.Path(sys.argv[1]))"
    second = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.stderr.splitlines()[-1].endswith(
        f"process {os.getpid()} on {socket.gethostname()} already trades with the data in "
        f"{tmp_path}. Stop it, or set FREQTRADE_DATA_DIR to another folder."
    )
    os.close(lock)
    os.close(launch.hold(tmp_path))


def test_lock_of_a_dead_process_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / launch.LOCK_FILE).write_text("1\n")
    os.close(launch.hold(tmp_path))
    assert (tmp_path / launch.LOCK_FILE).read_text().startswith(f"{os.getpid()} on ")


def test_login_is_handed_over_as_text(tmp_path: Path) -> None:
    launch.prepare(settings(tmp_path))
    environ = os.environ
    assert environ["FREQTRADE__API_SERVER__USERNAME"] == "squeezeflow"
    assert environ["FREQTRADE__API_SERVER__PASSWORD"] == PASSWORD
    assert environ["FREQTRADE__API_SERVER__JWT_SECRET_KEY"] == f"k-{JWT_SECRET}"


@pytest.mark.parametrize(
    ("value", "dry"), [("true", True), ("True", True), ("false", False), ("", True)]
)
def test_dry_run_from_outside_beats_the_file(
    monkeypatch: pytest.MonkeyPatch, value: str, dry: bool
) -> None:
    monkeypatch.setenv(launch.DRY_RUN, value)
    assert launch.is_dry_run({"dry_run": True}) is dry


@pytest.mark.parametrize("value", ["yes", "0", "1"])
def test_unclear_dry_run_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(launch.DRY_RUN, value)
    with pytest.raises(launch.Refused, match="must be true or false"):
        launch.is_dry_run({"dry_run": True})


def test_missing_dry_run_is_simulated() -> None:
    assert launch.is_dry_run({})


@pytest.mark.parametrize(
    ("text", "line"),
    [("{\n\n  oops\n}", 3), ('{\n"a": 1\n"b": 2}', 3), ("", 1), ('{"a": 1', 1)],
)
def test_broken_config_is_located(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(launch.Refused) as refused:
        launch.read_config(path)
    assert str(refused.value).startswith(f"{path}, line {line}: ")
    assert str(refused.value).endswith("Correct the file and start again.")


def test_config_must_be_an_object(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(launch.Refused, match="one JSON object"):
        launch.read_config(tmp_path / "config.json")


def test_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(launch.Refused, match="cannot be read"):
        launch.read_config(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"freqtrade_api_password": ""}, "FREQTRADE_API_PASSWORD is not set"),
        ({"freqtrade_api_password": "elevenchars"}, "has only 11 characters"),
        ({"freqtrade_api_password": "squeezeflow123"}, "publicly known"),
        ({"freqtrade_jwt_secret": ""}, "FREQTRADE_JWT_SECRET is not set"),
        ({"freqtrade_jwt_secret": "somethingRandomSomethingRandom123"}, "publicly known"),
        ({"freqtrade_api_username": "12"}, "FREQTRADE_API_USERNAME"),
    ],
)
def test_unsafe_login_is_refused_without_showing_it(
    tmp_path: Path, changes: dict[str, str], complaint: str
) -> None:
    with pytest.raises(launch.Refused, match=complaint) as refused:
        launch.prepare(settings(tmp_path, **changes))
    (value,) = changes.values()
    assert not value or value == "12" or value not in str(refused.value)


def test_taken_port_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv(launch.LISTEN_PORT, str(taken.getsockname()[1]))
        with pytest.raises(launch.Refused, match="cannot listen"):
            launch.check_port({})


@pytest.mark.parametrize("port", ["many", "-1", "70000"])
def test_impossible_port_is_refused(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv(launch.LISTEN_PORT, port)
    with pytest.raises(launch.Refused, match="cannot listen"):
        launch.check_port({})


def test_unwritable_data_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(launch.Refused, match="Make the folder writable"):
        launch.prepare(settings(tmp_path, freqtrade_data_dir=str(tmp_path / "file" / "data")))
