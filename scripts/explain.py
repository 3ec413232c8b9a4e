#!/usr/bin/env python3
"""Show why a signal was given: each phase's values as recorded and as rebuilt from stored bars.

Without a signal it lists the newest. Ends with status 0 if the decision comes out again, 2 if it
does not, 1 if it cannot be rebuilt.
Knows the running stack's settings, else takes them from the environment, `.env` and `secrets/`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.core.settings import StrategySettings
    from services.explain.decision import Explanation

ROOT = Path(__file__).resolve().parents[1]
DIFFERENT_EXIT = 2
LISTED = 10
BAR = 30


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="explain.py", description=__doc__)
    parser.add_argument(
        "signal", metavar="SIGNAL_ID", nargs="?", help="its first 8 characters suffice"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="draw the window into FILE")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    parser.add_argument(
        "--environment", action="store_true", help="take the settings from the environment alone"
    )
    options = parser.parse_args(arguments)
    if options.signal is None and (options.html or options.json):
        parser.error("which signal? Without options this lists the newest")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Entry point; answers the exit status."""
    options = parse(arguments)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from scripts.health_check import own_python, settings_of_the_stack

    own_python(Path(__file__))
    from aggr_server.env import SettingsError, load
    from aggr_server.influx import InfluxError, InfluxUnavailable, NotSetUp
    from scripts.stack.running import StackError
    from services.core.settings import StrategySettings
    from services.explain.store import ExplainError

    try:
        settings = load(
            StrategySettings, os.environ if options.environment else settings_of_the_stack()
        )
        if options.signal is None:
            print(asyncio.run(_newest(settings)))
            return 0
        explanation = asyncio.run(_explain(settings, options.signal))
        if options.html is not None:
            _draw(explanation, options.html)
    except (ExplainError, InfluxError, NotSetUp, SettingsError, StackError) as error:
        print(error, file=sys.stderr)
        return 1
    except InfluxUnavailable as error:
        where = f"{settings.influx_host}:{settings.influx_port}"
        print(
            f"InfluxDB does not answer at {where} ({error}). Start the stack with ./scripts/up.sh, "
            "or set INFLUX_HOST and INFLUX_PORT.",
            file=sys.stderr,
        )
        return 1
    except OSError as error:
        print(f"{options.html} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    _print(explanation, options)
    return DIFFERENT_EXIT if explanation.comparison.verdict == "different" else 0


async def _newest(settings: StrategySettings) -> str:
    from aggr_server.influx import InfluxClient
    from services.explain.store import newest

    async with InfluxClient(settings) as influx:
        return await newest(influx, LISTED)


async def _explain(settings: StrategySettings, wanted: str) -> Explanation:
    from aggr_server.influx import InfluxClient
    from services.explain.decision import explain

    show = _show if sys.stderr.isatty() else lambda share: None
    async with InfluxClient(settings) as influx:
        return await explain(influx, settings, wanted, int(time.time()), show)


def _show(share: float) -> None:
    full = round(BAR * share)
    end = "\r" if share < 1 else "\r\033[K"
    print(f"  rebuilding  {'#' * full}{'.' * (BAR - full)} {share:4.0%}", end=end, file=sys.stderr)


def _draw(explanation: Explanation, path: Path) -> None:
    from services.explain.page import document
    from services.web.page import page

    path.write_text(page(document(explanation)), encoding="utf-8")


def _print(explanation: Explanation, options: argparse.Namespace) -> None:
    import msgspec

    from services.explain.text import text

    if options.json:
        print(msgspec.json.encode(_summary(explanation)).decode())
        return
    print(text(explanation))
    if options.html is not None:
        print(f"\nThe window is drawn in {options.html}.")


def _summary(explanation: Explanation) -> dict[str, object]:
    comparison, rebuilt = explanation.comparison, explanation.rebuilt
    return {
        "signal_id": explanation.signal.signal_id,
        "symbol": explanation.signal.symbol,
        "action": explanation.signal.action,
        "decided_s": explanation.signal.t,
        "rebuilt_s": rebuilt.t,
        "verdict": comparison.verdict,
        "sentence": comparison.sentence,
        "causes": comparison.causes,
        "filled_minutes": rebuilt.filled,
        "values": comparison.rows,
    }


if __name__ == "__main__":
    sys.exit(main())
