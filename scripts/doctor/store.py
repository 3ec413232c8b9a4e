"""What is stored: room that InfluxDB and Redis take, and how old the last backup is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.doctor.findings import Finding, Group
from scripts.doctor.site import Site, output
from scripts.doctor.stack import containers, supervised
from services.core.labels import COMPOSE_PROJECT, COMPOSE_SERVICE

MB = 10**6
OLD_BACKUP_H = 26.0
FULL_SHARE = 0.80
EACH_DAY = "./scripts/backup_volumes.sh; COMPOSE_PROFILES=backup in .env makes one each day"
_INFO = 'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" exec redis-cli INFO'

_group = Group("Data")


def check(site: Site) -> Iterator[Finding]:
    """Of what runs, and of what local processes have left on disk."""
    for name in ("influx", "redis", "freqtrade", "aggr-server"):
        folder = site.data / name
        if folder.is_dir():
            yield _group.ok(name, f"{size(folder) / MB:,.0f} MB in {folder.relative_to(site.root)}")
    if supervised(site) and site.packages:
        yield from _native_redis(site)
    running = {
        c["Config"]["Labels"][COMPOSE_SERVICE]: c["Id"]
        for c in containers(site)
        if c["State"]["Running"]
    }
    if "redis" in running:
        yield from _container_redis(running["redis"])
    if "aggr-influx" in running:
        yield _container_influx(running["aggr-influx"])
    yield from _backup(site)


def size(folder: Path) -> int:
    """Bytes of all files below; those that vanish meanwhile count as none."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except OSError:
                continue
    return total


def _native_redis(site: Site) -> Iterator[Finding]:
    from redis import RedisError

    from aggr_server.env import load
    from scripts.stack.probes import redis_client
    from services.core.settings import MonitorSettings

    state = site.state() or {}
    try:
        with redis_client(load(MonitorSettings, state.get("environ", {}))) as client:
            info: Any = client.info()
    except (RedisError, ValueError) as error:
        yield _group.fail("redis", f"does not answer: {error}", "see .local/log/redis.log")
        return
    yield from redis_findings({key: str(value) for key, value in info.items()})


def _container_redis(identity: str) -> Iterator[Finding]:
    try:
        text = output("docker", "exec", identity, "sh", "-c", _INFO)
    except OSError as error:
        yield _group.fail("redis", f"does not answer: {error}", "docker compose logs redis")
        return
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    yield from redis_findings({key: value.strip() for key, _, value in pairs})


def redis_findings(info: Mapping[str, str]) -> Iterator[Finding]:
    """Memory, evictions and saving, from what INFO tells."""
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    found = f"{used / MB:,.0f} of {most / MB:,.0f} MB of memory"
    if most and used > FULL_SHARE * most:
        yield _group.warn("redis memory", found, "raise REDIS_MAXMEMORY, then start anew")
    elif used:
        yield _group.ok("redis memory", found)
    if evicted := int(info.get("evicted_keys", 0)):
        yield _group.warn(
            "redis", f"has thrown out {evicted} keys since its start", "raise REDIS_MAXMEMORY"
        )
    if "err" in (info.get("aof_last_write_status"), info.get("rdb_last_bgsave_status")):
        yield _group.fail(
            "redis", "could not save", "free space on its disk, set vm.overcommit_memory=1"
        )


def _container_influx(identity: str) -> Finding:
    try:
        kilobytes = output("docker", "exec", identity, "du", "-sk", "/var/lib/influxdb")
        return _group.ok("influx", f"{int(kilobytes.split()[0]) * 1024 / MB:,.0f} MB")
    except (OSError, ValueError, IndexError) as error:
        return _group.note("influx", f"its size is not known: {error}")


def _backup(site: Site) -> Iterator[Finding]:
    """Nothing is missing where there is nothing to lose."""
    if not site.packages:
        return
    from services.monitor.measure.backup import newest_s

    folder = (site.root / (site.setting("BACKUP_DIR") or "backups")).absolute()
    try:
        made_s = newest_s(folder)
    except OSError as error:
        yield _group.warn("backup", str(error), f"let this user read {folder}")
        return
    if made_s is not None:
        age_h = (time.time() - made_s) / 3600
        found = f"{age_h:.0f} h ago, in {folder}"
        if age_h > OLD_BACKUP_H:
            yield _group.warn("backup", found, EACH_DAY)
        else:
            yield _group.ok("backup", found)
    elif (site.local / "live").is_dir() or _live_containers(site):
        yield _group.warn("backup", f"none in {folder}", EACH_DAY)
    else:
        yield _group.ok("backup", "none, and nothing to lose yet")


def _live_containers(site: Site) -> bool:
    return any(
        c["Config"]["Labels"].get(COMPOSE_PROJECT) == "squeezeflow" for c in containers(site)
    )
