"""The way out: names, the exchanges' REST hosts, and our clock against theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scripts.doctor.findings import Finding, Group
from scripts.doctor.site import INSTALL, Site, output
from scripts.doctor.stack import is_demo

if TYPE_CHECKING:
    import aiohttp

    from aggr_server.exchanges.base import Request

TIMEOUT_S = 6.0
CLOCK_SAMPLES = 2
CLOCK_WARN_MS, CLOCK_FAIL_MS = 250.0, 1000.0
"""As the alerts of services/monitor/rules.toml have it."""
SYNCHRONISE = "let the host set it: sudo timedatectl set-ntp true, or install chrony"

_group = Group("Network")


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one exchange. `status`: HTTP, 0 if none came, and `reason` says why. `unresolved`: its
    host has no address here."""

    exchange: str
    host: str
    status: int
    reason: str = ""
    unresolved: bool = False


def check_exchanges(site: Site) -> Iterator[Finding]:
    """One harmless question to each exchange that is to be collected."""
    if site.offline:
        yield _group.note("exchanges", "not asked: --offline")
        return
    if not site.packages:
        yield _group.note(
            "exchanges", "not asked: the project's Python packages are missing", INSTALL
        )
        return
    if is_demo(site):
        yield _group.note("exchanges", "not asked: the demo runs, which brings its own")
        return
    from aggr_server.discovery import chosen_adapters
    from aggr_server.env import SettingsError, load
    from aggr_server.settings import CollectorSettings

    try:
        settings = load(CollectorSettings, site.environ)
        urls = {
            adapter.name: adapter.discovery[0]
            for adapter in chosen_adapters(settings)
            if adapter.discovery
        }
    except (SettingsError, ValueError):
        yield _group.note("exchanges", "not asked: correct the settings first")
        return
    answers = asyncio.run(_ask(urls, settings.exchange_gateway))
    essential = site.setting("SQUEEZEFLOW_EXECUTION_EXCHANGE", "BINANCE_FUTURES")
    yield from judged(answers, essential, settings.exchange_gateway)


async def _ask(requests: Mapping[str, Request], gateway: str) -> list[Answer]:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return await asyncio.gather(
            *(_answer(session, name, request, gateway) for name, request in requests.items())
        )


async def _answer(
    session: aiohttp.ClientSession, exchange: str, request: Request, gateway: str
) -> Answer:
    import aiohttp

    from aggr_server.gateway import through_gateway

    url = through_gateway(request.url, gateway)
    host = urlsplit(url).hostname or url
    headers = {"Content-Type": "application/json"} if request.body else None
    try:
        # The status comes first; the list of markets behind it is not read.
        async with session.request(
            request.method, url, data=request.body or None, headers=headers
        ) as response:
            return Answer(exchange, host, response.status)
    except aiohttp.ClientConnectorDNSError as error:
        return Answer(exchange, host, 0, str(error.os_error), unresolved=True)
    except TimeoutError:
        return Answer(exchange, host, 0, f"no answer within {TIMEOUT_S:g} s")
    except (aiohttp.ClientError, OSError) as error:
        return Answer(exchange, host, 0, str(error) or type(error).__name__)


def judged(answers: Sequence[Answer], essential: str, gateway: str) -> Iterator[Finding]:
    """What the answers say. `essential`: the exchange that orders go to."""
    if not answers:
        yield _group.note("exchanges", "none of the chosen ones tells its markets by REST")
        return
    yield _names(answers)
    well = [a.exchange for a in answers if 200 <= a.status < 300]
    if not any(a.status for a in answers):
        way = f"the gateway {gateway}" if gateway else "any exchange"
        yield _group.fail(
            "exchanges",
            f"no answer from {way}: {answers[0].reason}",
            "connect this machine to the internet, or let its firewall pass port 443 out",
        )
        return
    if well:
        yield _group.ok("exchanges", f"{len(well)} of {len(answers)} answer")
    for answer in answers:
        if answer.exchange not in well:
            yield _of(answer, answer.exchange == essential)


def _names(answers: Sequence[Answer]) -> Finding:
    lost = sorted({a.host for a in answers if a.unresolved})
    if not lost:
        return _group.ok("dns", f"{len({a.host for a in answers})} hosts have addresses")
    if all(a.unresolved for a in answers):
        return _group.fail(
            "dns", "no host can be resolved", "see /etc/resolv.conf: is its server reachable?"
        )
    return _group.warn("dns", f"no address for {', '.join(lost)}", "ask another name server")


def _of(answer: Answer, essential: bool) -> Finding:
    make = _group.fail if essential else _group.warn
    leave_out = f"take {answer.exchange} out of AGGR_EXCHANGES and OI_EXCHANGES"
    if essential:
        leave_out = "orders go there: run this machine where the exchange serves it"
    if answer.status == 451:
        return make(answer.exchange, "451: it does not serve your location", leave_out)
    if answer.status == 403:
        found = "403: this address is blocked, for its location or for too many requests"
        return make(answer.exchange, found, f"wait ten minutes and try again, else {leave_out}")
    if answer.status in (418, 429):
        found = f"{answer.status}: too many requests from this address"
        return _group.warn(answer.exchange, found, "wait; run one collector for each address")
    if answer.status:
        found = f"{answer.host} answers {answer.status}"
        return make(answer.exchange, found, "see the exchange's status page")
    return make(
        answer.exchange, f"{answer.host}: {answer.reason}", "is its site reachable from here?"
    )


def check_clock(site: Site) -> Iterator[Finding]:
    """Whether somebody sets the clock, and how far it is from the exchanges'."""
    yield _kept()
    if site.offline or not site.packages or is_demo(site):
        return
    from services.monitor.measure.board import Unreadable
    from services.monitor.measure.clock import Clock

    clock = Clock(site.setting("EXCHANGE_GATEWAY"), samples=CLOCK_SAMPLES)
    try:
        readings = asyncio.run(clock.readings())
    except Unreadable as error:
        yield _group.note("clock", f"its offset is not known: {error}")
        return
    for reading in readings:
        yield offset(reading.value, reading.detail)


def offset(offset_ms: float, detail: str) -> Finding:
    """Our clock minus the exchanges'; orders and bars carry its time."""
    found = f"{offset_ms:+.0f} ms: {detail}"
    if abs(offset_ms) >= CLOCK_FAIL_MS:
        return _group.fail("clock", found, SYNCHRONISE)
    if abs(offset_ms) >= CLOCK_WARN_MS:
        return _group.warn("clock", found, SYNCHRONISE)
    return _group.ok("clock", found)


def _kept() -> Finding:
    try:
        answer = output("timedatectl", "show", "-p", "NTPSynchronized", "--value", timeout_s=3)
    except OSError:
        return _group.note("time service", "not known: no systemd here")
    if answer.strip() == "yes":
        return _group.ok("time service", "keeps the clock")
    return _group.note("time service", "nobody keeps the clock, says systemd", SYNCHRONISE)
