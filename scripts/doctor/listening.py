"""The ports the stack will listen on: free, or by whom they are held."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

from scripts.doctor.findings import Finding, Group
from scripts.doctor.site import Site
from scripts.doctor.stack import is_up
from scripts.stack.compose import engine_answers
from scripts.stack.running import StackError

_PORT = re.compile(r"^#(\w*PORT)=(\d+)$", re.MULTILINE)
_CONTAINERS = (
    ("freqtrade-ui", "FREQTRADE_UI_PORT", "8081"),
    ("aggr-chronograf", "CHRONOGRAF_PORT", "8885"),
)
"""Service, setting and default of what runs as containers only."""
_OTHERS = ("SIMULATOR_PORT", *(setting for _, setting, _ in _CONTAINERS))
"""Of the demo, or of containers alone."""

_group = Group("Ports")


def check(site: Site) -> Iterator[Finding]:
    """Of the services as local processes, which are those of the containers too."""
    if is_up(site):
        yield _group.ok("ports", "held by the running stack")
    elif site.packages:
        yield from _known(site)
    else:
        yield from _plain(site)


def _known(site: Site) -> Iterator[Finding]:
    from aggr_server.env import SettingsError, load
    from scripts.stack import ports, services
    from scripts.stack.settings import StackSettings

    try:
        settings = load(StackSettings, site.environ)
        needs = services.ports(settings, demo=False)
        if engine_answers():
            needs += [
                ports.Need(
                    name, settings.bind_address, int(site.setting(setting, default)), setting
                )
                for name, setting, default in _CONTAINERS
            ]
        ports.require_free(needs)
    except (SettingsError, ValueError):
        yield _group.note("ports", "not checked: correct the settings first")
    except StackError as error:
        for line in str(error).splitlines():
            found, _, remedy = line.partition(". ")
            yield _group.fail("port", found, remedy)
    else:
        yield _group.ok("ports", f"{', '.join(str(need.port) for need in needs)} are free")


def _plain(site: Site) -> Iterator[Finding]:
    """The same without the project's packages: taken or not, by whom is not told."""
    try:
        text = (site.root / ".env.example").read_text(encoding="utf-8")
    except OSError as error:
        yield _group.note("ports", f"not checked: {error}")
        return
    free = []
    for name, default in _PORT.findall(text):
        port = site.setting(name, default)
        if name in _OTHERS or not port.isdigit():
            continue
        if reason := _refused(int(port)):
            yield _group.fail(
                "port", f"{port} is {reason}", f"ss -ltnp shows by whom; or set {name} in .env"
            )
        else:
            free.append(port)
    if free:
        yield _group.ok("ports", f"{', '.join(free)} are free")


def _refused(port: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return (error.strerror or str(error)).lower()
        except OverflowError:
            return "no port: 1 to 65535"
    return ""
