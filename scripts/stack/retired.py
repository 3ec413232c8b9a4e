"""Settings of earlier releases: what became of each. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable

_RULES = "of services/monitor/rules.toml; put what differs into a file of your own and name it in"
RETIRED = {
    "ALERT_DISK_PERCENT": f"disk_nearly_full and disk_full {_RULES} ALERT_RULES",
    "ALERT_DOWN_S": f"for_s in service_down {_RULES} ALERT_RULES",
    "ALERT_START_S": f"for_s in service_not_started {_RULES} ALERT_RULES",
    "SQUEEZEFLOW_SUBNET": "SQUEEZEFLOW_SUBNET_PREFIX, its first two numbers",
}
"""Name -> what took its place."""


def lines(names: Iterable[str]) -> list[str]:
    """One line for each of `names` that no longer acts."""
    return [
        f"{name} in .env does nothing any more. Instead: {RETIRED[name]}."
        for name in sorted(RETIRED.keys() & set(names))
    ]
