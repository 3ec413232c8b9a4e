#!/usr/bin/env python3
"""Print how every service is: HEALTHY or DEGRADED, then UP, DEGRADED or DOWN for each.

Then the incidents that are open, and what is beyond a limit of the alerts' rules. Everything that
is wrong is told with its cause and remedy. With `--live`: whether real money may be traded, point
by point, OK, WARN or FAIL with its remedy. Knows the running stack's settings, else takes them from
the environment, `.env` and `secrets/`.

Exit status: 0 if the system is healthy (with `--live`: if no point fails), 1 if it is not, 2 if it
could not be checked, because a setting, a rule or an argument is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AGAIN = "SQUEEZEFLOW_HEALTH_CHECK_AGAIN"
UNCHECKED = 2


def own_python(script: Path = Path(__file__)) -> None:
    """Start `script` again with the project's own Python if this one lacks what services need."""
    for folder in (ROOT, ROOT / "aggr-server"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    try:
        import aiohttp  # noqa: F401
        import influxdb  # noqa: F401
        import msgspec  # noqa: F401
        import redis  # noqa: F401
    except ImportError as error:
        python = ROOT / ".local" / "venv" / "bin" / "python"
        if python.exists() and AGAIN not in os.environ:
            os.environ[AGAIN] = "1"
            os.execv(python, [str(python), str(script.resolve()), *sys.argv[1:]])
        sys.exit(
            f"{error.name} is not installed. Run ./scripts/up.sh once, which installs it into "
            ".local/venv, or: pip install -r requirements.txt"
        )


def settings_of_the_stack() -> dict[str, str]:
    """Those of the running stack, else `secrets/`, `.env` and the environment, the last first.

    Where its containers are reached is asked of the engine, as it need not be on this machine's
    ports. Raises `StackError`.
    """
    from scripts.doctor import site, stack
    from scripts.stack import dotenv, reach, secret_files

    try:
        with (ROOT / ".local" / "run" / "stack.json").open(encoding="utf-8") as file:
            environ: dict[str, str] = json.load(file)["environ"]
            return environ
    except FileNotFoundError:
        pass
    secrets = secret_files.file_settings(ROOT / "secrets")
    known = {name: path for name, path in secrets.items() if Path(path).is_file()}
    given = {name: value for name, value in os.environ.items() if value}
    reached = reach.settings(stack.containers(site.examine(ROOT)))
    return {**known, **dotenv.read(ROOT / ".env"), **given, **reached}


def freqtrade_variables() -> dict[str, str]:
    """Those that change freqtrade's configuration, from `.env` and the environment."""
    from scripts.stack import dotenv

    given = {**dotenv.read(ROOT / ".env"), **{k: v for k, v in os.environ.items() if v}}
    return {name: value for name, value in given.items() if name.startswith("FREQTRADE__")}


def check_live(environ: Mapping[str, str], *, as_json: bool) -> int:
    """Print the list of what real money needs; answers the exit status."""
    import msgspec

    from aggr_server.env import load
    from scripts.live import checklist, checks, config
    from services.core.settings import ExecutorSettings, MonitorSettings, StrategySettings

    executor = load(ExecutorSettings, environ)
    path = Path(executor.freqtrade_config or ROOT / "freqtrade" / "config" / "config.json")
    try:
        document = config.read(path, environ)
    except config.BadConfig as error:
        print(error, file=sys.stderr)
        return 1
    strategy, monitor = load(StrategySettings, environ), load(MonitorSettings, environ)
    items = checks.run(checks.Subject(document, executor, strategy, monitor))
    print(msgspec.json.encode(items).decode() if as_json else checklist.text(items))
    return 0 if checklist.passed(items) else 1


def main(arguments: list[str] | None = None) -> int:
    """Entry point; answers the exit status."""
    parser = argparse.ArgumentParser(
        prog="health_check.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    parser.add_argument(
        "--environment", action="store_true", help="take the settings from the environment alone"
    )
    parser.add_argument(
        "--live", action="store_true", help="check what must be so before real money is traded"
    )
    options = parser.parse_args(arguments)
    own_python()
    import msgspec

    from aggr_server.env import SettingsError, load
    from scripts.stack.running import StackError
    from services.core.settings import SystemMonitorSettings
    from services.monitor import report

    try:
        environ: Mapping[str, str] = os.environ
        if not options.environment:
            environ = {**freqtrade_variables(), **settings_of_the_stack()}
        if options.live:
            return check_live(environ, as_json=options.json)
        found = asyncio.run(report.look(load(SystemMonitorSettings, environ)))
    except (SettingsError, StackError) as error:
        print(error, file=sys.stderr)
        return UNCHECKED
    print(msgspec.json.encode(found).decode() if options.json else report.text(found))
    return 0 if found.status == "healthy" else 1


if __name__ == "__main__":
    sys.exit(main())
