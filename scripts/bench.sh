#!/usr/bin/env bash
# Runs a benchmark: ./scripts/bench.sh NAME [--json]. Without a name: lists them.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=python.sh
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"
ensure_venv
exec "$VENV_PYTHON" -P -m scripts.benchmarks "$@"
