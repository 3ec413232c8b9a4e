#!/usr/bin/env bash
# Back up the running stack; with --test, restore a backup for trial instead.
# ./scripts/backup_volumes.sh --help lists the options.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=python.sh
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"
ensure_venv
command=create
if [ "${1:-}" = --test ]; then
    command="test"
    shift
fi
exec "$VENV_PYTHON" -P -m scripts.backup "$command" "$@"
