#!/usr/bin/env bash
# Writes docs/settings.md: ./scripts/settings_doc.sh [--check]
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=python.sh
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"
ensure_venv
exec "$VENV_PYTHON" -P -m scripts.settings_doc "$@"
