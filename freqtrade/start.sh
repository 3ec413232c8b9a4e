#!/usr/bin/env bash
# Checks configuration, secrets and port, then runs freqtrade in this process.
# FREQTRADE_BIN: the freqtrade command, if it is neither on PATH nor in .local/freqtrade.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

binary=${FREQTRADE_BIN:-}
if [[ -z $binary && -x $root/.local/freqtrade/bin/freqtrade ]]; then
  binary=$root/.local/freqtrade/bin/freqtrade
fi
binary=${binary:-$(command -v freqtrade || true)}
if [[ ! -x $binary ]]; then
  echo "freqtrade: command not found: ${binary:-freqtrade}. Install freqtrade or set FREQTRADE_BIN." >&2
  exit 78
fi

# The interpreter beside the command has freqtrade; in the image it is the one on PATH.
python=$(dirname "$binary")/python
[[ -x $python ]] || python=$(command -v python3)

export PYTHONPATH="$root:$root/aggr-server${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" "$here/launch.py" "$@"
