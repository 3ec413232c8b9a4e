# shellcheck shell=bash
# Sourced by the other scripts: the project's folder, a Python of the right version, and the
# project's virtual environment.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export VENV_PYTHON=$ROOT/.local/venv/bin/python
export PYTHONPATH=$ROOT:$ROOT/aggr-server

fitting_python() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if fitting_python "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    {
        echo "Python 3.11, 3.12 or 3.13 is needed and was not found in PATH."
        echo "Install it (Debian: apt-get install python3 python3-venv), or set PYTHON to its path."
    } >&2
    return 1
}

ensure_venv() {
    local python
    python=$(find_python)
    (cd "$ROOT" && "$python" -P -m scripts.stack.venv "$ROOT/.local/venv" "$ROOT/requirements-dev.txt")
}
