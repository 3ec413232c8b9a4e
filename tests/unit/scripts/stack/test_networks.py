"""Against a `docker` command that answers what an engine would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.stack.networks import in_the_way, require_free
from scripts.stack.running import StackError
from tests.programs import program

OWN = "squeezeflow"
CONFIG = {
    "networks": {
        "out": {"ipam": {"config": [{"subnet": "172.20.0.0/18"}]}},
        "inside": {"ipam": {"config": [{"subnet": "172.20.64.0/18"}]}},
        "chosen by the engine": {"ipam": {}},
        "of somebody else": None,
    }
}

Engine = Callable[..., None]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Tell what networks there are; one that is listed last has gone away meanwhile."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def tell(*networks: dict[str, Any]) -> None:
        for i, network in enumerate(networks):
            (tmp_path / f"{i}.json").write_text(json.dumps([network]))
        names = " ".join(map(str, range(len(networks) + 1)))
        program(
            tmp_path / "docker",
            f'if [ "$2" = ls ]; then echo {names}; exit; fi\nexec cat "{tmp_path}/$3.json"',
        )

    return tell


def network(name: str, *subnets: str, project: str | None = None) -> dict[str, Any]:
    labels = {"com.docker.compose.project": project} if project else None
    config = [{"Subnet": subnet} for subnet in subnets]
    return {"Name": name, "Labels": labels, "IPAM": {"Config": config or None}}


def test_networks_elsewhere_and_the_stacks_own_are_not_in_the_way(engine: Engine) -> None:
    engine(
        network("bridge", "172.17.0.0/16", "fd00::/64"),
        network("host"),
        network("squeezeflow_network", "172.20.0.0/18", project=OWN),
        network("other", "172.20.128.0/18", project="shop"),
    )
    assert in_the_way(CONFIG, {OWN}) == []
    require_free(CONFIG, OWN)


def test_whoever_has_some_of_the_addresses_is_named_with_the_remedy(engine: Engine) -> None:
    engine(
        network("shop_default", "172.20.0.0/16", project="shop"),
        network("by-hand", "172.20.65.0/24"),
    )
    assert in_the_way(CONFIG, {OWN}) == ["by-hand (172.20.65.0/24)", "shop_default (172.20.0.0/16)"]
    with pytest.raises(StackError, match=r"by-hand.*shop_default.*SQUEEZEFLOW_SUBNET_PREFIX"):
        require_free(CONFIG, OWN)


def test_a_prefix_that_makes_no_subnet_is_named_with_the_remedy() -> None:
    config = {"networks": {"out": {"ipam": {"config": [{"subnet": "172.300.0.0/18"}]}}}}
    with pytest.raises(StackError, match=r"172\.300\.0\.0/18.*SQUEEZEFLOW_SUBNET_PREFIX"):
        require_free(config, OWN)


def test_no_engine_is_asked_where_no_addresses_are_fixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert in_the_way({"networks": {"default": {}}}, {OWN}) == []
