"""The demo asks only venues that its simulator answers for."""

from __future__ import annotations

from pathlib import Path

import yaml

from scripts.stack import environment
from scripts.stack.layout import Layout
from scripts.stack.settings import StackSettings
from services.oi.venues import canonical
from services.simulator import venues

ROOT = Path(__file__).parents[3]


def test_the_demos_venues_are_those_simulated_with_perpetuals() -> None:
    simulated = {canonical(i.market.partition(":")[0]) for i in venues.instruments()
                 if i.kind == "perp"}  # fmt: skip
    native = environment.build(Layout(Path("/sf"), demo=True), {}, StackSettings())
    compose = yaml.safe_load((ROOT / "docker-compose.demo.yml").read_text(encoding="utf-8"))
    contained = compose["services"]["oi-tracker"]["environment"]
    for environ in (native, contained):
        assert set(environ["OI_EXCHANGES"].split(",")) == simulated
