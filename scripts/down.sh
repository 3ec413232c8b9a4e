#!/usr/bin/env bash
# Stops the whole stack and makes sure that nothing is left of it.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=python.sh
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"
if [[ ! -x $VENV_PYTHON ]]; then
    echo "Nothing was ever started here." >&2
    exit 0
fi
exec "$VENV_PYTHON" -P -m scripts.stack down "$@"
