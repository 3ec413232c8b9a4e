"""InfluxDB as `up.sh` starts it."""

from __future__ import annotations

from scripts.stack import render
from scripts.stack.layout import Layout
from scripts.stack.settings import StackSettings
from tests.integration.servers import InfluxServer


class StackInflux(InfluxServer):
    """On the data of one layout; `extra`: lines that are added to its configuration."""

    def __init__(self, layout: Layout, *, auth: bool = True, extra: str = "") -> None:
        super().__init__(layout.data / "influx", auth=auth)
        self.extra = extra
        self._layout = layout

    def _command(self) -> list[str]:
        *start, _, _ = super()._command()
        settings = StackSettings(influx_port=self.port, influx_rpc_port=self.rpc_port)
        text = render.influxd_conf(self._layout, settings, auth=self._auth)
        config = self.folder / "stack.conf"
        config.write_text(text.replace("[data]\n", f"[data]\n{self.extra}"))
        return [*start, "run", "-config", str(config)]
