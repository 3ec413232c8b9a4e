#!/usr/bin/env bash
# Restore a backup into a stopped stack. ./scripts/restore_volumes.sh --help lists the options.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=python.sh
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"
ensure_venv
exec "$VENV_PYTHON" -P -m scripts.backup restore "$@"
