#!/usr/bin/env bash
# Back up the running stack. ./scripts/backup_volumes.sh --help lists the options.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=python.sh
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"
ensure_venv
exec "$VENV_PYTHON" -P -m scripts.backup create "$@"
