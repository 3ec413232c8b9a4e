"""The strategy's answers to freqtrade when something fails: freqtrade takes an exception in a
question about an entry for a yes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.integration.children import bare
from tests.integration.freqtrade.bot import ROOT, Runner, blocking_redis

SCRIPT = Path(__file__).with_name("asking.py")
PATHS = (ROOT, ROOT / "aggr-server", ROOT / "freqtrade" / "user_data" / "strategies")


@pytest.fixture
def answers(redis_port: int, tmp_path: Path) -> dict[str, Any]:
    with blocking_redis(redis_port) as client:
        signal = Runner(client, {"BTCUSDT": 100.0}).entry(leverage=3)
        done = subprocess.run(
            [
                str(ROOT / ".local" / "freqtrade" / "bin" / "python"),
                str(SCRIPT),
                str(tmp_path),
                msgspec.json.encode(signal).decode(),
            ],
            env={
                **bare(),
                "PYTHONPATH": os.pathsep.join([*map(str, PATHS), os.environ.get("PYTHONPATH", "")]),
                "REDIS_PORT": str(redis_port),
                "FREQTRADE_RISK_FRAC": "0.05",
            },
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_fails_is_a_no_to_an_entry_and_hides_no_signal(answers: dict[str, Any]) -> None:
    assert answers.pop("stake") > 0
    assert 0 < answers.pop("stop by hand") < 1
    assert answers == {
        "signal read though the state is not": True,
        "stake without a signal": 0.0,
        "leverage without a signal": 1.0,
        "stake without an account": 0.0,
        "entry without a signal": False,
        "entry on another signal": False,
        "entry on an unknown market": False,
        "entry for another executor": False,
        "entry": True,
        "entry again": False,
        "entry once the link is closed": False,
        "no stop": None,
    }
