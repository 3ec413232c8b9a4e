"""The health check: every service, what is open, and what is over its limit, as text or JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.influx import InfluxClient
from services.core.clients import redis_client
from services.core.settings import SystemMonitorSettings
from services.monitor import rules
from services.monitor.checks import TIMEOUT_S, Checker
from services.monitor.facts import FactsReader
from services.monitor.incidents import RANK, Finding, Incident, span
from services.monitor.states import Overview, ServiceState

_FIRST = ("redis", "aggr-influx", "freqtrade", "strategy-runner")
_LABELS = {"aggr-influx": "influxdb"}
_OF_SERVICES = {"service_down", "service_not_started", "service_degraded"}
"""Readings that say what the services' own lines say."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """An open incident, or a reading beyond the limit of a rule. `since_ms`: when the incident
    began, None while nobody has been told: it may not have lasted long enough yet. `reading`:
    what was measured. `with_it`: what follows from it."""

    code: str
    subject: str
    level: Literal["info", "warning", "critical"]
    cause: str
    remedy: str
    reading: str = ""
    since_ms: int | None = None
    with_it: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`status`: healthy only if every service is up and nothing but infos is open.

    `incidents`, `over_limit`: None if not known, and `note` says why.
    """

    status: Literal["healthy", "degraded"]
    ts_ms: int
    services: dict[str, ServiceState]
    incidents: list[Trouble] | None
    over_limit: list[Trouble] | None
    note: str = ""


async def look(settings: SystemMonitorSettings) -> Report:
    """Check every service once. Raises `SettingsError` for rules that cannot be used."""
    limits = rules.load(settings.alert_rules)
    redis = redis_client(settings, socket_timeout_s=3.0)
    async with InfluxClient(settings, timeout_s=3.0) as influx:
        checker = Checker(settings, redis, influx)
        try:
            overview, known = await asyncio.gather(checker.check_all(), _known(redis, limits))
        finally:
            await checker.close()
            await redis.aclose()
    return report(overview, *known)


def report(
    overview: Overview,
    incidents: Mapping[str, Incident] | None,
    findings: Sequence[Finding] | None,
    note: str = "",
) -> Report:
    """Put together what is known. `findings`: every reading held against the rules."""
    open_ones = None if incidents is None else [_of_incident(i) for i in incidents.values()]
    over_limit = None if findings is None else list(_untold(findings, incidents or {}))
    grave = [trouble for trouble in (open_ones or []) if trouble.level != "info"]
    well = overview.status == "healthy" and not grave
    return Report(
        status="healthy" if well else "degraded",
        ts_ms=overview.ts_ms,
        services=overview.services,
        incidents=open_ones,
        over_limit=over_limit,
        note=note,
    )


def text(report: Report) -> str:
    """`System Health: HEALTHY`, then `redis: UP` and so on; causes and remedies where needed."""
    lines = [f"System Health: {report.status.upper()}"]
    first = [name for name in _FIRST if name in report.services]
    told = {trouble.subject: trouble for trouble in report.incidents or () if _of_service(trouble)}
    for name in (*first, *(name for name in report.services if name not in _FIRST)):
        service = report.services[name]
        lines.append(f"{label(name)}: {service.state.upper()}")
        if service.state != "up":
            lines += [f"  cause: {service.detail}", f"  remedy: {service.remedy}"]
            if trouble := told.pop(name, None):
                lines.append(f"  alert: {_name(trouble, report.ts_ms)}")
                lines += _followers(trouble)
    if not any(service.state == "up" for service in report.services.values()):
        return "\n".join([*lines, "Nothing is running. ./scripts/up.sh starts the stack."])
    if (redis := report.services.get("redis")) and redis.state == "down":
        lines.append("Begin with redis: the other services need it.")
    others = [t for t in report.incidents or () if not _of_service(t) or t.subject in told]
    lines += _section("Open incidents:", others, report.ts_ms)
    over_limit = report.over_limit or ()
    lines += _section("Over a limit, not for long enough to be told:", over_limit, report.ts_ms)
    if report.note:
        lines.append(report.note)
    return "\n".join(lines)


def label(service: str) -> str:
    """Name in the report: `aggr-influx` is `influxdb`, `strategy-runner` is `strategy_runner`."""
    return _LABELS.get(service, service.replace("-", "_"))


def _section(title: str, troubles: Sequence[Trouble], now_ms: int) -> list[str]:
    lines = [title] if troubles else []
    for trouble in troubles:
        lines.append(f"{trouble.subject}: {_name(trouble, now_ms)}")
        lines += [f"  cause: {trouble.cause}", f"  remedy: {trouble.remedy}"]
        lines += _followers(trouble)
    return lines


def _name(trouble: Trouble, now_ms: int) -> str:
    if trouble.since_ms is None:
        return f"{trouble.level.upper()} {trouble.code}"
    lasted = span((now_ms - trouble.since_ms) / 1000)
    return f"{trouble.level.upper()} {trouble.code}, for {lasted}"


def _followers(trouble: Trouble) -> list[str]:
    return [f"  with it: {', '.join(trouble.with_it)}"] if trouble.with_it else []


def _of_service(trouble: Trouble) -> bool:
    """Whether the service's own line says the same."""
    return trouble.reading in _OF_SERVICES


async def _known(
    redis: Redis, limits: rules.Rules
) -> tuple[Mapping[str, Incident] | None, Sequence[Finding] | None, str]:
    """Incidents, findings, and why they are not known if they are not."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            facts = await FactsReader(redis).read()
    except (RedisError, TimeoutError):
        return None, None, "Incidents and figures are not known while Redis is away."
    if facts.incidents is None or facts.readings is None:
        return None, None, "Incidents and figures are not known while system-monitor is silent."
    return facts.incidents, rules.findings(facts.readings, limits), ""


def _of_incident(incident: Incident) -> Trouble:
    cause = incident.what or incident.text
    remedy = incident.text.removeprefix(cause).lstrip("; ")
    for addition in ("; with it: ", "; it comes and goes"):
        remedy = remedy.partition(addition)[0]
    return Trouble(
        code=incident.code,
        subject=incident.subject or incident.symbol,
        level=incident.level,
        cause=cause,
        remedy=remedy or "see its log",
        reading=incident.reading,
        since_ms=incident.began_ms or incident.ts_ms,
        with_it=incident.with_it,
    )


def _untold(findings: Sequence[Finding], told: Mapping[str, Incident]) -> Iterator[Trouble]:
    """What is wrong and neither told, nor explained by something that is wrong or told.

    Of rules on the same reading, the most severe speaks.
    """
    wrong = [finding for finding in findings if finding.wrong]
    keys = {finding.key for finding in wrong} | told.keys()
    causes = keys | {key.partition(":")[0] for key in keys}
    said = {(incident.reading, incident.subject) for incident in told.values()}
    for finding in sorted(wrong, key=lambda finding: -RANK[finding.level]):
        about = finding.reading, finding.subject
        explaining = set(finding.because_of)
        follows = causes & explaining and not {finding.key, finding.code} & explaining
        if finding.key in told or about in said or follows:
            continue
        said.add(about)
        if finding.reading not in _OF_SERVICES:
            yield Trouble(
                code=finding.code,
                subject=finding.subject,
                level=finding.level,
                cause=finding.text,
                remedy=finding.remedy,
                reading=finding.reading,
            )
