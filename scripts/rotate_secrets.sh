#!/usr/bin/env bash
# Replaces generated passwords by new ones and restarts what uses them. --help lists the options.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=python.sh
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"
ensure_venv
exec "$VENV_PYTHON" -P -m scripts.stack.rotate "$@"
