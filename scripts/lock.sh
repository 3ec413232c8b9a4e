#!/usr/bin/env bash
# Compiles the short requirements*.in files into the pinned requirements*.txt.
# Options are passed on, for example: ./scripts/lock.sh --upgrade
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=python.sh
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"
ensure_venv
cd "$ROOT"
for name in requirements requirements-dev aggr-server/requirements freqtrade/requirements; do
    echo "$name.txt" >&2
    .local/venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header \
        --output-file "$name.txt" "$@" "$name.in"
done
