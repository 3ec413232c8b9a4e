"""When the page asks for its password."""

from __future__ import annotations

import pytest

from aggr_server.env import SettingsError, load
from services.core.settings import HealthMonitorSettings
from services.dashboard.page import login_of


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, False),
        ({"BIND_ADDRESS": "127.0.0.19"}, False),
        ({"BIND_ADDRESS": "::1"}, False),
        ({"BIND_ADDRESS": "0.0.0.0"}, True),
        ({"BIND_ADDRESS": "::"}, True),
        ({"BIND_ADDRESS": "0.0.0.0", "PAGE_PUBLISHED_ON": ",127.0.0.1"}, False),
        ({"BIND_ADDRESS": "0.0.0.0", "PAGE_PUBLISHED_ON": ",10.0.0.1"}, True),
        ({"BIND_ADDRESS": "127.0.0.1", "PAGE_PUBLISHED_ON": "trader.example"}, True),
        ({"PAGE_PUBLISHED_ON": "trader.example,127.0.0.1"}, True),
    ],
)
def test_a_password_is_asked_for_where_others_reach_the_page(
    environ: dict[str, str], asked: bool
) -> None:
    settings = load(HealthMonitorSettings, {**environ, "PAGE_PASSWORD": "k0123"})
    assert (login_of(settings) is not None) is asked

    without = load(HealthMonitorSettings, environ)
    if asked:
        with pytest.raises(SettingsError, match="PAGE_PASSWORD is not set"):
            login_of(without)
    else:
        assert login_of(without) is None
