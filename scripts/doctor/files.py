"""Files of the project: what they must hold, who owns them, and who may read them."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from scripts.doctor import machine
from scripts.doctor.findings import Finding, Group
from scripts.doctor.site import Site
from scripts.live import config
from scripts.stack import backup_folder, dotenv, secret_files
from scripts.stack.layout import LONGEST_SOCKET_PATH, Layout
from scripts.stack.running import StackError

SECRET_ENDS = ("PASSWORD", "SECRET", "TOKEN", "KEY", "NOTIFY_URLS", "DEADMAN_URL")
LOOKED_AT = 5000
"""Files of a data folder whose owner is looked at."""

_group = Group("Files")


def check(site: Site) -> Iterator[Finding]:
    """Everything here needs Python alone."""
    yield from _env(site)
    yield from _secrets(site)
    yield _config(site)
    yield from _folders(site)
    yield _path(site)


def _env(site: Site) -> Iterator[Finding]:
    path = site.root / ".env"
    try:
        values = dotenv.read(path)
    except StackError as error:
        yield _group.fail(".env", str(error), "correct these lines; .env.example explains all")
        return
    except (OSError, UnicodeDecodeError) as error:
        yield _group.fail(".env", str(error), f"make {path} a text file that you may read")
        return
    if not path.exists():
        yield _group.ok(".env", "none: every setting has its default")
        return
    hidden = sorted(n for n, value in values.items() if value and n.endswith(SECRET_ENDS))
    if hidden and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield _group.warn(
            ".env", f"others may read it, and it has {', '.join(hidden)}", "chmod 600 .env"
        )
    elif owner := foreign_owner(path):
        yield _group.warn(".env", f"belongs to {owner}", f"sudo chown {_me()} .env")
    else:
        yield _group.ok(".env", f"{len(values)} settings")


def _secrets(site: Site) -> Iterator[Finding]:
    folder = site.root / "secrets"
    if not folder.is_dir():
        yield _group.ok("secrets", "none yet: the first start makes them")
        return
    if owner := foreign_owner(folder):
        yield _group.fail("secrets", f"belong to {owner}", f"sudo chown -R {_me()} secrets")
        return
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        yield _group.fail("secrets", "others may look into the folder", "chmod 700 secrets")
    names = (*secret_files.NAMES, *secret_files.FOREIGN)
    files = [folder / name for name in names if (folder / name).exists()]
    writable = [f.name for f in files if stat.S_IMODE(f.stat().st_mode) & 0o022]
    if writable:
        listed = " ".join(f"secrets/{name}" for name in writable)
        yield _group.warn(
            "secrets", f"others may change {', '.join(writable)}", f"chmod go-w {listed}"
        )
    if unreadable := [f.name for f in files if not os.access(f, os.R_OK)]:
        yield _group.fail(
            "secrets", f"not readable: {', '.join(unreadable)}", f"sudo chown -R {_me()} secrets"
        )
        return
    yield from _contents(folder)


def _contents(folder: Path) -> Iterator[Finding]:
    missing = [n for n in secret_files.NAMES if not _filled(folder / n)]
    if missing:
        yield _group.note("secrets", f"missing: {', '.join(missing)}; the next start makes them")
    else:
        yield _group.ok("secrets", f"{len(secret_files.NAMES)} made")
    given = {n: _filled(folder / f"freqtrade_exchange_{n}") for n in ("key", "secret")}
    if len(set(given.values())) == 2:
        lacking = next(name for name, filled in given.items() if not filled)
        yield _group.warn(
            "exchange key",
            f"its {lacking} is missing",
            f"write it into secrets/freqtrade_exchange_{lacking}, or empty the other file",
        )


def _filled(path: Path) -> bool:
    return path.is_file() and bool(path.read_text(encoding="utf-8", errors="replace").strip())


def _config(site: Site) -> Finding:
    given = site.setting("FREQTRADE_CONFIG")
    path = Path(given) if given else site.root / "freqtrade" / "config" / "config.json"
    try:
        found = config.read(path, {})
    except config.BadConfig as error:
        return _group.fail("config.json", str(error), "freqtrade does not start until it is right")
    dry_run = config.overridden(found, site.environ).get("dry_run", True)
    money = "simulated" if str(dry_run).lower() in ("true", "t") else "REAL"
    return _group.ok("config.json", f"{money} money")


def _folders(site: Site) -> Iterator[Finding]:
    """What local processes write must be theirs; the volumes of containers are not looked into."""
    for name, path in machine.data_paths(site).items():
        if name == "SQUEEZEFLOW_DATA":
            continue
        if not path.exists():
            above = machine.existing(path)
            if not os.access(above, os.W_OK):
                yield _group.fail(name, f"{path} cannot be made", f"sudo chown {_me()} {above}")
            continue
        if name == "backups":
            yield _backups(path)
        elif foreign := next(_foreign(path), None):
            owner = foreign_owner(foreign)
            yield _group.fail(
                name, f"{foreign} belongs to {owner}", f"sudo chown -R {_me()} {path}"
            )
        elif not os.access(path, os.W_OK | os.X_OK):
            yield _group.fail(name, f"{path} is not writable", f"chmod -R u+rwX {path}")
        else:
            yield _group.ok(name, "ours and writable")


def _backups(folder: Path) -> Finding:
    """Ours, or that of the container which makes one each day."""
    if os.access(folder, os.W_OK | os.X_OK):
        return _group.ok("backups", "ours and writable")
    if folder.stat().st_uid == backup_folder.USER:
        return _group.ok("backups", f"of the container's user, {backup_folder.USER}")
    owner = foreign_owner(folder) or _me()
    return _group.fail("backups", f"{folder} belongs to {owner}", f"sudo chown -R {_me()} {folder}")


def _foreign(folder: Path) -> Iterator[Path]:
    """Files of somebody else in `folder`, as far as is worth looking."""
    if os.geteuid() == 0:
        return  # may write whatever it is
    yield from (p for p in islice(_walk((folder,)), LOOKED_AT) if foreign_owner(p))


def _walk(folders: Iterable[Path]) -> Iterator[Path]:
    """The data and state below, which are what is written; not the programs installed there."""
    for folder in folders:
        yield folder
        for path, names, files in os.walk(folder):
            names[:] = [n for n in names if n not in ("venv", "freqtrade", "debian", "cache", "uv")]
            yield from (Path(path, name) for name in (*names, *files))


def foreign_owner(path: Path) -> str:
    """Whose `path` is; empty if it is ours or gone, or if we may write all files anyway."""
    try:
        uid = path.lstat().st_uid
    except OSError:
        return ""
    if os.geteuid() in (0, uid):
        return ""
    return _name(uid)


def _me() -> str:
    return _name(os.geteuid())


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _path(site: Site) -> Finding:
    length = len(os.fsencode(Layout(site.root, demo=False).socket))
    if length > LONGEST_SOCKET_PATH:
        return _group.warn(
            "path",
            f"{site.root} is too long for a socket",
            "for local processes, move the project to a folder with a shorter path",
        )
    return _group.ok("path", str(site.root))
