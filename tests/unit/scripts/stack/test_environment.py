from __future__ import annotations

from pathlib import Path

from scripts.stack import environment
from scripts.stack.layout import Layout
from scripts.stack.settings import StackSettings


def _build(*, demo: bool, **given: str) -> dict[str, str]:
    return environment.build(Layout(Path("/sf"), demo), given, StackSettings(freqtrade_port=8181))


def test_the_demo_never_trades_real_money_or_markets() -> None:
    environ = _build(
        demo=True,
        FREQTRADE__DRY_RUN="false",
        FREQTRADE__EXCHANGE__KEY="key",
        FREQTRADE__EXCHANGE__SECRET="secret",
        FREQTRADE_CONFIG="/own/config.json",
        EXCHANGE_GATEWAY="",
        AGGR_SYMBOLS="DOGE",
    )
    assert environ["FREQTRADE__DRY_RUN"] == "true"
    assert environ["FREQTRADE__EXCHANGE__KEY"] == environ["FREQTRADE__EXCHANGE__SECRET"] == ""
    assert environ["FREQTRADE_CONFIG"] == ""
    assert environ["EXCHANGE_GATEWAY"] == "http://127.0.0.1:18090"
    assert environ["AGGR_SYMBOLS"] == "BTC,ETH"


def test_live_keeps_what_the_user_gave() -> None:
    environ = _build(demo=False, FREQTRADE__DRY_RUN="false", AGGR_SYMBOLS="DOGE")
    assert environ["FREQTRADE__DRY_RUN"] == "false"
    assert environ["AGGR_SYMBOLS"] == "DOGE"
    assert "EXCHANGE_GATEWAY" not in environ
    assert "simulator" not in environ["STACK_SERVICES"]


def test_demo_and_live_data_are_apart() -> None:
    given = {"AGGR_DATA_DIR": "/own", "FREQTRADE_DATA_DIR": "/own"}
    for name in given:
        demo, live = _build(demo=True), _build(demo=False)
        assert demo[name] != live[name]
        assert _build(demo=True, **given)[name] == demo[name]


def test_time_passes_as_it_does_in_a_stack() -> None:
    assert _build(demo=True, SIMULATED_CLOCK="1700000000000*10")["SIMULATED_CLOCK"] == ""


def test_our_own_databases_are_local_whatever_the_file_says() -> None:
    environ = _build(demo=False, REDIS_HOST="redis", INFLUX_HOST="aggr-influx")
    assert environ["REDIS_HOST"] == environ["INFLUX_HOST"] == "127.0.0.1"


def test_a_foreign_python_is_not_passed_on() -> None:
    environ = _build(demo=False, VIRTUAL_ENV="/x", PYTHONPATH="/x", PYTHONDONTWRITEBYTECODE="1")
    assert environ["PYTHONPATH"] == "/sf:/sf/aggr-server"
    assert not {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"} & environ.keys()


def test_moved_ports_reach_those_who_call() -> None:
    assert _build(demo=False)["FREQTRADE_API_URL"] == "http://127.0.0.1:8181"
    assert _build(demo=False)["FREQTRADE__API_SERVER__LISTEN_PORT"] == "8181"


def test_secrets_given_directly_win_over_the_files() -> None:
    environ = _build(demo=False, REDIS_PASSWORD="own")
    assert environ["REDIS_PASSWORD"] == "own"
    assert environ["REDIS_PASSWORD_FILE"] == "/sf/secrets/redis_password"


def test_backups_of_a_demo_push_out_no_real_ones() -> None:
    assert _build(demo=True)["BACKUP_DIR"] == "backups/demo"
    assert _build(demo=True, BACKUP_DIR="/far")["BACKUP_DIR"] == "/far/demo"
    assert _build(demo=False, BACKUP_DIR="/far")["BACKUP_DIR"] == "/far"
