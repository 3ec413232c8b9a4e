#!/usr/bin/env bash
# Says what the stack has on this machine, and deletes it with --yes.
# ./scripts/uninstall.sh --help lists the options.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=python.sh
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"
# Not the one in .local, which is deleted too.
python=$(find_python)
exec "$python" -P -m scripts.uninstall "$@"
