"""Settings of the commands themselves, and the check of everything `.env` may hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, get_type_hints

import msgspec
from msgspec import Meta

from aggr_server import settings as collector_settings
from aggr_server.discovery import chosen_adapters
from aggr_server.env import SettingsError, is_secret, load
from aggr_server.settings import Port
from scripts.stack.running import StackError
from services.core import settings as service_settings


class StackSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the commands run the programs that are not ours."""

    bind_address: str = "127.0.0.1"
    redis_port: Port = 6379
    redis_maxmemory: Annotated[
        str,
        Meta(
            pattern="^[0-9]+(b|k|kb|m|mb|g|gb)?$",
            description="memory Redis may use before it evicts, for example 2gb",
        ),
    ] = "2gb"
    redis_maxmemory_policy: Annotated[
        str,
        Meta(
            pattern="^(noeviction|(allkeys|volatile)-(lru|lfu|random)|volatile-ttl)$",
            description="what Redis evicts when its memory is full, for example allkeys-lru",
        ),
    ] = "allkeys-lru"
    influx_port: Port = 8086
    influx_rpc_port: Annotated[
        int, Meta(ge=1, le=65535, description="port of InfluxDB's backup protocol, loopback only")
    ] = 18088
    freqtrade_port: Port = 8080
    port: Port = 3000
    health_port: Port = 8090
    simulator_port: Port = 18090
    compose_profiles: Annotated[
        tuple[str, ...],
        Meta(description="what runs besides, comma-separated; backup: a backup each day"),
    ] = ()


def settings_classes() -> list[type[msgspec.Struct]]:
    """Every settings class of the collector, of the services and of the commands."""
    found = [
        member
        for module in (collector_settings, service_settings)
        for member in vars(module).values()
        if isinstance(member, type)
        and issubclass(member, msgspec.Struct)
        and member.__module__ == module.__name__
    ]
    return [*found, StackSettings]


def setting_names() -> set[str]:
    """Environment variables of all settings; secrets also as `..._FILE`."""
    names = set()
    for cls in settings_classes():
        hints = get_type_hints(cls, include_extras=True)
        for name, hint in hints.items():
            names.add(name.upper())
            if is_secret(hint):
                names.add(f"{name.upper()}_FILE")
    return names


def validate(environ: Mapping[str, str]) -> StackSettings:
    """Check every setting of every service. Raises `StackError`, one line for each bad one."""
    problems: list[str] = []
    for cls in settings_classes():
        try:
            load(cls, environ)
        except SettingsError as error:
            problems.extend(line for line in str(error).splitlines() if line not in problems)
    if not problems:
        try:
            chosen_adapters(load(collector_settings.CollectorSettings, environ))
        except ValueError as error:
            problems.append(f"{error}. Correct it in .env.")
    if problems:
        raise StackError("\n".join(problems))
    return load(StackSettings, environ)


def merged(dotenv: Mapping[str, str], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The process environment over `.env`, as Compose does it; empty variables count as unset."""
    given = {k: v for k, v in (os.environ if environ is None else environ).items() if v}
    return {**dotenv, **given}
