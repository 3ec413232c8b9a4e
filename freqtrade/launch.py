"""Start of freqtrade: refuse what would run unsafely or not at all, then run it in this process.

freqtrade itself ends with status 0 on a configuration error, trades on without an API when the
port is taken, and accepts an empty password and a publicly known key for login tokens.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from pathlib import Path
from typing import Any

import rapidjson

from aggr_server.env import SettingsError, load
from services.core.settings import ExecutorSettings

HERE = Path(__file__).resolve().parent
BAD_SETTINGS_EXIT = 78  # EX_CONFIG of sysexits.h
STOPPED_BY_SIGNAL = 130
DRY_RUN = "FREQTRADE__DRY_RUN"
LISTEN_ADDRESS = "FREQTRADE__API_SERVER__LISTEN_IP_ADDRESS"
LISTEN_PORT = "FREQTRADE__API_SERVER__LISTEN_PORT"
EXCHANGE_KEYS = {
    "FREQTRADE_EXCHANGE_KEY": "FREQTRADE__EXCHANGE__KEY",
    "FREQTRADE_EXCHANGE_SECRET": "FREQTRADE__EXCHANGE__SECRET",
}
LOCK_FILE = ".executor.lock"
LOG_COLUMNS = "10000"
SHORTEST_PASSWORD = 12
SHORTEST_JWT_SECRET = 32
# Printed in freqtrade's documentation and example files, so known to everybody.
KNOWN_SECRETS = {
    "freqtrader",
    "SuperSecurePassword",
    "squeezeflow123",
    "somethingrandom",
    "somethingRandom",
    "somethingRandomSomethingRandom123",
    "super-secret",
}


class Refused(ValueError):
    """freqtrade must not be started; the text says why and what to do."""


def read_config(path: Path) -> dict[str, Any]:
    """The configuration file. Raises `Refused` naming file, line and remedy."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(
            f"{path} cannot be read: {error}. Restore it or set FREQTRADE_CONFIG."
        ) from None
    mode = rapidjson.PM_COMMENTS | rapidjson.PM_TRAILING_COMMAS
    try:
        config = rapidjson.loads(text, parse_mode=mode)
    except rapidjson.JSONDecodeError as error:
        line, cause = locate(text, str(error))
        raise Refused(f"{path}, line {line}: {cause} Correct the file and start again.") from None
    if not isinstance(config, dict):
        raise Refused(f"{path}: the file must hold one JSON object. Correct it and start again.")
    return config


def locate(text: str, error: str) -> tuple[int, str]:
    """Line (from 1) and cause of a parser's `Parse error at offset N: cause`."""
    place, _, cause = error.partition(": ")
    digits = "".join(c for c in place if c.isdigit())
    offset = min(int(digits or 0), len(text))
    return text.count("\n", 0, offset) + 1, cause or error


def check_secrets(settings: ExecutorSettings) -> None:
    """Raises `Refused` if a login would be guessable."""
    for name, secret, shortest in (
        ("FREQTRADE_API_PASSWORD", settings.freqtrade_api_password, SHORTEST_PASSWORD),
        ("FREQTRADE_JWT_SECRET", settings.freqtrade_jwt_secret, SHORTEST_JWT_SECRET),
    ):
        remedy = f"Put a random one of at least {shortest} characters into the file {name}_FILE."
        if not secret:
            raise Refused(f"{name} is not set. {remedy}")
        if secret in KNOWN_SECRETS:
            raise Refused(f"{name} is a publicly known default. {remedy}")
        if len(secret) < shortest:
            raise Refused(f"{name} has only {len(secret)} characters. {remedy}")
    if not settings.freqtrade_api_username.isidentifier():
        raise Refused(
            "FREQTRADE_API_USERNAME must be of letters, digits and _, and begin with a letter."
        )


def check_exchange_keys(settings: ExecutorSettings, config: dict[str, Any]) -> None:
    """Raises `Refused` if real money is to be traded without the exchange's keys."""
    for (name, variable), value in zip(EXCHANGE_KEYS.items(), exchange_keys(settings), strict=True):
        part = variable.rpartition("__")[2].lower()
        if not (value or _outside(variable, config.get("exchange", {}).get(part, ""))):
            raise Refused(
                f"{name} is not set, but dry_run is false. Put it into the file {name}_FILE "
                f"(secrets/{name.lower()}), or trade simulated money: {DRY_RUN}=true."
            )
        if value and _is_number(value):
            raise Refused(f"{name} is a number. Copy it again from the exchange.")


def exchange_keys(settings: ExecutorSettings) -> tuple[str, str]:
    """Key and secret, in the order of `EXCHANGE_KEYS`."""
    return settings.freqtrade_exchange_key, settings.freqtrade_exchange_secret


def _is_number(text: str) -> bool:
    """Whether freqtrade, which guesses the types of its variables, would make a number of it."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def data_folder(settings: ExecutorSettings) -> Path:
    """Where database and lock are; made if it is missing. Raises `Refused`."""
    folder = Path(settings.freqtrade_data_dir or HERE / "user_data").resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{error}. Make the folder writable or set FREQTRADE_DATA_DIR.") from None
    return folder


def hold(folder: Path) -> int:
    """Keep any other process from `folder` for as long as the returned descriptor is open.

    Two of them on one database would each close the other's trades. The kernel lets go of the lock
    when the process ends, however it does. The name of the host tells containers apart, whose
    processes have the same numbers. Raises `Refused` naming the process that has it.
    """
    path = folder / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Refused(f"{error}. Make the folder writable or set FREQTRADE_DATA_DIR.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 300).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise Refused(
            f"process {holder} already trades with the data in {folder}. Stop it, or set "
            "FREQTRADE_DATA_DIR to another folder."
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return descriptor


def check_port(config: dict[str, Any]) -> None:
    """Raises `Refused` if the API could not listen."""
    server = config.get("api_server", {})
    address = _outside(LISTEN_ADDRESS, server.get("listen_ip_address", "127.0.0.1"))
    port = _outside(LISTEN_PORT, server.get("listen_port", 8080))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, int(port)))
        except (OSError, ValueError, OverflowError) as error:
            raise Refused(
                f"the API cannot listen on {address}:{port}: {error}. Stop what uses the port, or "
                f"set {LISTEN_PORT} to a free one."
            ) from None


def is_dry_run(config: dict[str, Any]) -> bool:
    """Whether money is simulated; a missing or unclear setting counts as simulated.

    Raises `Refused` if the value is neither true nor false.
    """
    value = _outside(DRY_RUN, config.get("dry_run", True))
    if isinstance(value, str):
        value = {"true": True, "t": True, "false": False, "f": False}.get(value.lower(), value)
    if not isinstance(value, bool):
        raise Refused(f"dry_run is {value!r}; it must be true or false. Correct the configuration.")
    return value


def _outside(name: str, inside: Any) -> Any:
    """A variable of freqtrade's, or what its file says.

    Compose passes unset variables empty; freqtrade would take an empty text for the value.
    """
    if not os.environ.get(name, "").strip():
        os.environ.pop(name, None)
        return inside
    return os.environ[name].strip()


def prepare(settings: ExecutorSettings) -> list[str]:
    """Check everything, export login and keys, and return freqtrade's command line."""
    config_file = Path(settings.freqtrade_config or HERE / "config" / "config.json")
    config = read_config(config_file)
    dry_run = is_dry_run(config)
    check_secrets(settings)
    if not dry_run:
        check_exchange_keys(settings, config)
    check_port(config)
    data_dir = data_folder(settings)
    # Simulated and real trades never share a database.
    database = "tradesv3.dryrun.sqlite" if dry_run else "tradesv3.sqlite"
    for variable, value in zip(EXCHANGE_KEYS.values(), exchange_keys(settings), strict=True):
        if value and not dry_run:
            os.environ[variable] = value
    os.environ["FREQTRADE__API_SERVER__USERNAME"] = settings.freqtrade_api_username
    os.environ["FREQTRADE__API_SERVER__PASSWORD"] = settings.freqtrade_api_password
    # freqtrade guesses types: without the prefix a key of digits would become a number.
    os.environ["FREQTRADE__API_SERVER__JWT_SECRET_KEY"] = f"k-{settings.freqtrade_jwt_secret}"
    return [
        "trade",
        *("--config", str(config_file)),
        *("--userdir", str(data_dir)),
        *("--strategy-path", str(HERE / "user_data" / "strategies")),
        *("--db-url", f"sqlite:///{data_dir / database}"),
    ]


def main(extra: list[str]) -> int:
    """Run until stopped. 0: stopped by a signal; 78: bad configuration; else freqtrade's status."""
    try:
        settings = load(ExecutorSettings)
        lock = hold(data_folder(settings))
        arguments = prepare(settings)
    except (Refused, SettingsError) as error:
        for line in str(error).splitlines():
            print(f"freqtrade: {line}", file=sys.stderr)
        return BAD_SETTINGS_EXIT

    if not sys.stderr.isatty():
        # freqtrade would break its log lines at 200 characters.
        os.environ["COLUMNS"] = LOG_COLUMNS
    from freqtrade.main import main as freqtrade  # takes a second to import

    try:
        freqtrade([*arguments, *extra])
    except SystemExit as end:
        if end.code == STOPPED_BY_SIGNAL:
            return 0
        if end.code not in (None, 0):
            return end.code if isinstance(end.code, int) else 1
    finally:
        os.close(lock)
    print(
        "freqtrade: it refused its configuration; the error stands above. Correct config.json or "
        "the FREQTRADE__ variable it names and start again.",
        file=sys.stderr,
    )
    return BAD_SETTINGS_EXIT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
