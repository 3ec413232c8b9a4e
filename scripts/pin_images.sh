#!/usr/bin/env bash
# Writes the digests of the public images into docker/images.lock. --help lists the options.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=python.sh
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"
ensure_venv
exec "$VENV_PYTHON" -P -m scripts.stack.pins "$@"
