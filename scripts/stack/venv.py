"""Makes a virtual environment equal to a requirements file. Standard library only.

Run as `python -m scripts.stack.venv FOLDER REQUIREMENTS` by any Python of the right version.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.stack.progress import Progress
from scripts.stack.running import StackError

UV = "uv==0.13.9"
INSTALL_TIMEOUT_S = 900
OLDEST, NEWEST = (3, 11), (3, 13)

Say = Callable[[str], None]


def ensure(folder: Path, requirements: Path, say: Say) -> bool:
    """Make `folder` hold exactly what `requirements` pins; True if anything had to be done.

    Done once per content of the file. Installs with uv, with pip if uv does
    not work here. Raises `StackError`.
    """
    wanted = _fingerprint(requirements)
    mark = folder / ".installed"
    with _lock(folder.with_name(f".{folder.name}.lock")):
        if mark.exists() and mark.read_text(encoding="utf-8") == wanted and _works(folder):
            return False
        mark.unlink(missing_ok=True)
        say("installing Python packages")
        environ = _environ(folder.parent / "cache")
        try:
            _with_uv(folder, requirements, environ)
        except (subprocess.SubprocessError, OSError) as error:
            say(f"uv does not work here ({_reason(error)}); installing with pip, which is slower")
            try:
                _with_pip(folder, requirements, environ)
            except (subprocess.SubprocessError, OSError) as pip_error:
                raise StackError(_remedy(folder, requirements, pip_error)) from pip_error
        mark.write_text(wanted, encoding="utf-8")
    return True


def _with_uv(folder: Path, requirements: Path, environ: dict[str, str]) -> None:
    uv = folder.parent / "uv" / "bin" / "uv"
    if not uv.exists():
        shutil.rmtree(uv.parent.parent, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(uv.parent.parent)], environ)
        _run([str(uv.with_name("python")), "-m", "pip", "install", "--quiet", UV], environ)
    if not _works(folder):
        shutil.rmtree(folder, ignore_errors=True)
        _run([str(uv), "venv", "--quiet", "--python", sys.executable, str(folder)], environ)
    python = str(folder / "bin" / "python")
    _run([str(uv), "pip", "sync", "--quiet", "--python", python, str(requirements)], environ)


def _with_pip(folder: Path, requirements: Path, environ: dict[str, str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)], environ)
    python = str(folder / "bin" / "python")
    _run([python, "-m", "pip", "install", "--quiet", "-r", str(requirements)], environ)


def _run(command: list[str], environ: dict[str, str]) -> None:
    subprocess.run(
        command,
        env=environ,
        check=True,
        timeout=INSTALL_TIMEOUT_S,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _environ(cache: Path) -> dict[str, str]:
    """Caches stay inside the project; an activated environment must not divert the tools."""
    environ = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONHOME")}
    return environ | {
        "UV_CACHE_DIR": str(cache / "uv"),
        "PIP_CACHE_DIR": str(cache / "pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        # Trust whom this machine trusts, as pip does: a company's proxy has its own authority.
        "UV_SYSTEM_CERTS": "1",
    }


def _works(folder: Path) -> bool:
    """Whether a Python that will do is there; it need not be the one that runs this."""
    script = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run(
            [str(folder / "bin" / "python"), "-c", script],
            capture_output=True,
            timeout=30,
            check=False,
            text=True,
        )
    except OSError:
        return False
    version = tuple(int(part) for part in done.stdout.split())
    return OLDEST <= version <= NEWEST


def _fingerprint(requirements: Path) -> str:
    return hashlib.sha256(requirements.read_bytes()).hexdigest()


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError) and error.output:
        lines = [line.strip() for line in str(error.output).splitlines() if line.strip()]
        return next((line for line in lines if line.lower().startswith("error")), lines[-1])
    return str(error)


def _remedy(folder: Path, requirements: Path, error: Exception) -> str:
    if "ensurepip" in str(getattr(error, "output", "")):
        version = ".".join(str(n) for n in sys.version_info[:2])
        return (
            f"Python {version} of this machine lacks its venv module. Install it (Debian: "
            f"apt-get install python{version}-venv), or set PYTHON to another Python."
        )
    return (
        f"{folder.name}: the packages of {requirements.name} could not be installed: "
        f"{_reason(error)}. Is the package index (pypi.org) reachable?"
    )


def main(arguments: list[str]) -> int:
    """The command; 0 if the environment is as it should be."""
    folder, requirements = Path(arguments[0]), Path(arguments[1])
    progress = Progress()
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        print(f"Python {sys.version.split()[0]} is not between 3.11 and 3.13.", file=sys.stderr)
        return 1
    try:
        ensure(folder, requirements, lambda text: progress.say(folder.name, text))
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
