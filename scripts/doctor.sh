#!/usr/bin/env bash
# Says what is wrong with this machine, the settings or the stack, and what mends it.
# ./scripts/doctor.sh --help lists the options.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=python.sh
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"
[[ " $* " != *" --install "* ]] || ensure_venv
python=$VENV_PYTHON
if ! "$python" -c "import msgspec, psutil" 2>/dev/null; then
    python=$(find_python) || exit 2
fi
exec "$python" -P -m scripts.doctor "$@"
