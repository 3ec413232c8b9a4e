#!/usr/bin/env python3
"""Print how every service is: HEALTHY or DEGRADED, then UP, DEGRADED or DOWN for each.

Ends with status 0 if all are up, else with 1. Knows the running stack's settings, else takes them
from the environment, `.env` and `secrets/`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AGAIN = "SQUEEZEFLOW_HEALTH_CHECK_AGAIN"


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
    """Those of the running stack, else `secrets/`, `.env` and the environment, the last first."""
    from scripts.stack import dotenv, secret_files

    try:
        with (ROOT / ".local" / "run" / "stack.json").open(encoding="utf-8") as file:
            environ: dict[str, str] = json.load(file)["environ"]
            return environ
    except FileNotFoundError:
        pass
    secrets = secret_files.file_settings(ROOT / "secrets")
    known = {name: path for name, path in secrets.items() if Path(path).is_file()}
    given = {name: value for name, value in os.environ.items() if value}
    return {**known, **dotenv.read(ROOT / ".env"), **given}


def main(arguments: list[str] | None = None) -> int:
    """Entry point; answers the exit status."""
    parser = argparse.ArgumentParser(prog="health_check.py", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    parser.add_argument(
        "--environment", action="store_true", help="take the settings from the environment alone"
    )
    options = parser.parse_args(arguments)
    own_python()
    import msgspec

    from aggr_server.env import SettingsError, load
    from scripts.stack.running import StackError
    from services.core.settings import MonitorSettings
    from services.monitor import report

    try:
        settings = load(
            MonitorSettings, os.environ if options.environment else settings_of_the_stack()
        )
    except (SettingsError, StackError) as error:
        print(error, file=sys.stderr)
        return 1
    overview = asyncio.run(report.look(settings))
    print(msgspec.json.encode(overview).decode() if options.json else report.text(overview))
    return 0 if overview.status == "healthy" else 1


if __name__ == "__main__":
    sys.exit(main())
