"""One backup or test, of the servers that the environment names: `python -m scripts.backup.here
create` or `test`. The scheduler starts it, also where there is no engine and no supervisor."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from aggr_server.env import SettingsError, load
from scripts.backup import jobs
from scripts.backup.errors import BackupError
from scripts.backup.native import NativeSource
from scripts.backup.offsite import OffsiteError
from scripts.stack.progress import Progress
from services.core.settings import BackupSettings

ROOT = Path(__file__).resolve().parents[2]


def main(what: str) -> int:
    """Do it; return the process's exit status."""
    say = Progress().say
    try:
        settings = load(BackupSettings, os.environ)
        folder, key = ROOT / settings.backup_dir, jobs.key_of(settings)
        if what == "test":
            jobs.test(None, folder, jobs.programs(ROOT), say, key=key)
        else:
            source = NativeSource(ROOT, os.environ, jobs.influxd(ROOT))
            jobs.back_up(source, ROOT, folder, settings, say, key=key)
    except OffsiteError as error:
        print(error, file=sys.stderr)
        return jobs.ONLY_HERE_EXIT
    except (BackupError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
