"""What is to be known about the commands of the documents in order to run them.

Every command runs as it is written and must end with status 0, except for what these tables say;
`tests/unit/scripts/test_documented_commands.py` sees to it that they say nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tests.operator.documents import OPEN

NAMED: Mapping[str, str] = {
    "./scripts/restore_volumes.sh": "a script that is spoken of; it wants a backup",
    "docker compose up": "a way to start that is spoken of",
    "docker history": "a place where secrets are not",
    "docker inspect": "a place where secrets are not",
    "docker kill": "an event",
    "docker stop": "an event",
    "health_check.py --live": "a script that is spoken of",
    "scripts/health_check.py --live": "a script that is spoken of",
    "restart: unless-stopped": "a line of the Compose files",
    "System Health: HEALTHY": "what a command prints",
}
"""Code in the text that nobody is told to type: what it is."""

LEFT_OUT: Mapping[str, str] = {
    "./scripts/test.sh": "runs this test's own gate, which runs all others",
    "./scripts/test.sh slow": "runs this very test",
    "./scripts/test.sh stack": "runs this test's other half",
    ".local/freqtrade/bin/freqtrade install-ui": "fetches from GitHub",
    "./scripts/pin_images.sh": "asks the public registry",
    "./scripts/pin_images.sh --upgrade": "asks the public registry",
    "trivy image redis:7-alpine": "a scanner of others, which asks its own database",
    "ssh -L 8080:127.0.0.1:8080 host": "wants another host",
    "ssh -L 8090:127.0.0.1:8090 host": "wants another host",
    "timedatectl": "wants systemd",
    "sudo timedatectl set-ntp true": "changes the machine's clock",
    "sudo sysctl --system": "changes the machine",
    f"{OPEN}http://127.0.0.1:8885/sources/0/dashboards": "Chronograf's stand-in has no such page, "
    "and its own image is not to be had without a registry",
    "sudo systemctl enable --now squeezeflow": "changes the machine",
}
"""Commands that no test runs: why not."""


IN_CONTAINERS = ("docker ", f"{OPEN}http://127.0.0.1:8081")
"""Beginnings of what there is with containers only."""

_SWARM = "test_b1_everything_is_back_after_all_volumes_were_lost"
ELSEWHERE: Mapping[str, str] = {
    "./scripts/backup_volumes.sh --stack squeezeflow": _SWARM,
    "./scripts/restore_volumes.sh FOLDER --stack squeezeflow --replace": _SWARM,
    "docker stack rm squeezeflow": _SWARM,
    "docker stack deploy -c docker-compose.swarm.yml squeezeflow": _SWARM,
    "docker service scale squeezeflow_strategy-runner=4": (
        "test_s10_no_signal_is_lost_or_doubled_by_kills_and_a_rolling_update"
    ),
    "docker stack services squeezeflow": "test_nothing_is_published",
}
"""Commands that another test runs: which."""

NOT_RUN = frozenset({*NAMED, *LEFT_OUT, *ELSEWHERE})


class Answer(NamedTuple):
    """How a command ends (one of `statuses`) and a regular expression for what it says."""

    says: str = ""
    statuses: tuple[int, ...] = (0,)


EXAMINED = (0, 1)
"""The machine that tests run on may deserve warnings."""

ANSWERS: Mapping[str, Answer] = {
    "./scripts/up.sh": Answer(r"all services are ready|is running already"),
    "./scripts/up.sh --demo": Answer(r"Live page +http://127\.0\.0\.1"),
    "./scripts/up.sh --demo --check --json report.json": Answer(r"Stop it with"),
    "./scripts/down.sh": Answer(r"Stopped \d+ processes"),
    "./scripts/bench.sh": Answer(r"pipeline  +\w"),
    "./scripts/bench.sh pipeline --json": Answer(r'"bench": "pipeline"'),
    "python3 scripts/backtest.py --symbol BTC": Answer(r"(?s)BTC.*Report: .*\.html"),
    "python3 scripts/explain.py SIGNAL_ID --html why.html": Answer(r"drawn in why\.html"),
    "python3 scripts/notify_test.py": Answer(r"sent"),
    "python3 scripts/health_check.py": Answer(r"System Health: HEALTHY"),
    # Without an account this is what there is to say; tests/integration/freqtrade has all others.
    "python3 scripts/health_check.py --live": Answer(r"FAIL  keys: .* missing", (1,)),
    "python3 scripts/kill_switch.py on": Answer(r"entries are halted .*executor has confirmed"),
    "python3 scripts/kill_switch.py off": Answer(r"entries are allowed .*executor has confirmed"),
    "python3 scripts/kill_switch.py status": Answer(r"entries are (allowed|halted)"),
    "./scripts/doctor.sh": Answer(r"Nothing fails|Nothing is wrong", EXAMINED),
    "./scripts/doctor.sh --install": Answer(r"Nothing fails|Nothing is wrong", EXAMINED),
    "./scripts/doctor.sh --json > report.json": Answer(statuses=EXAMINED),
    "./scripts/backup_volumes.sh": Answer(r"\n/\S+/squeezeflow-\d{8}T\d{6}Z\n$"),
    "./scripts/backup_volumes.sh --lines": Answer(r"\n/\S+/squeezeflow-\d{8}T\d{6}Z\n$"),
    "./scripts/backup_volumes.sh --test": Answer(r"restores: [\d,]+ values"),
    "./scripts/restore_volumes.sh BACKUP --replace": Answer(r"complete: [\d,]+ values"),
    "./scripts/restore_volumes.sh BACKUP": Answer(r"complete: [\d,]+ values"),
    "./scripts/restore_volumes.sh FOLDER --into scratch": Answer(r"complete: [\d,]+ values"),
    "./scripts/restore_volumes.sh FOLDER --replace": Answer(r"complete: [\d,]+ values"),
    "./scripts/restore_volumes.sh FOLDER --lines": Answer(r"complete: [\d,]+ values"),
    "./scripts/restore_volumes.sh FOLDER --key-file KEY --settings": Answer(
        r"complete: [\d,]+ values"
    ),
    "./scripts/rotate_secrets.sh all": Answer(r"New: redis_password, .*Restarted: \w"),
    "./scripts/rotate_secrets.sh freqtrade_api_password": Answer(r"Restarted: freqtrade"),
    "./scripts/uninstall.sh": Answer(r"Nothing was deleted\. To delete"),
    "./scripts/uninstall.sh --yes": Answer(r"Deleted\."),
    ".local/venv/bin/pytest -k NAME": Answer(r"1 passed"),
    "curl -i http://127.0.0.1:8086/ping": Answer(r"HTTP/1\.1 204"),
    "curl http://127.0.0.1:3000/markets": Answer(r'"state":'),
    "docker compose logs SERVICE": Answer(r"\w"),
    "docker compose ps": Answer(r"\(healthy\)"),
    "docker inspect --format '{{json .State.Health}}' CONTAINER": Answer(r'"Status":'),
    "docker compose exec redis sh -c 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) "
    "redis-cli ping'": Answer(r"PONG"),
}
"""How commands end and what they must say, where more is known than that they end with 0."""

STOPPED = frozenset(
    {
        "./scripts/up.sh --demo",
        "./scripts/restore_volumes.sh BACKUP",
        "./scripts/restore_volumes.sh BACKUP --replace",
        "./scripts/restore_volumes.sh FOLDER --key-file KEY --settings",
        "./scripts/restore_volumes.sh FOLDER --lines",
        "./scripts/restore_volumes.sh FOLDER --replace",
    }
)
"""What is run while the stack is down; all else is run while it is up, unless it is `ALONE`."""

LOST = frozenset(
    {
        "./scripts/restore_volumes.sh BACKUP",
        "./scripts/restore_volumes.sh FOLDER --key-file KEY --settings",
        "./scripts/restore_volumes.sh FOLDER --lines",
    }
)
"""What the documents tell to do where the data is gone."""

_HALT = "docker exec $(docker ps -q -f name=oi-tracker) python -m services.kill_switch on"
LOOKS = frozenset({"./scripts/doctor.sh", "python3 scripts/health_check.py", _HALT})
"""What may find the stack unready shortly after a start, and is then typed again."""

ALONE = (
    "./scripts/up.sh", "./scripts/down.sh", "./scripts/bench.sh", "./scripts/test.sh",
    "./scripts/settings_doc.sh", "./scripts/uninstall.sh", "./scripts/doctor.sh",
    "git", "cp", "openssl", "(umask", ".local/venv/bin/", "zcat", "PYTHONPATH=", "df", "du",
    "python3 scripts/backtest.py --symbol TRX",
)  # fmt: skip
"""Beginnings of what does not care whether a stack runs."""

DEMO_DOCUMENTS = frozenset({"README.md"})
"""Whose reader has the demo before them; of the others, the stack that trades."""
