"""Encryption of a backup's files with a key.

Each file is what `openssl enc -aes-256-ctr -pbkdf2` makes, so that it can be opened by hand; that
nobody changed it is proven by the checksums in the manifest, which is signed with the same key.
"""

from __future__ import annotations

import hashlib
import hmac
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from scripts.backup.errors import BackupError

SUFFIX = ".enc"
ITERATIONS = 10_000
SHORTEST_KEY = 32
TIMEOUT_S = 3600


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """What encrypts. It is on no command line and in no log."""

    _secret: bytes

    @classmethod
    def of(cls, text: str, where: str) -> Key:
        """`where`: where it comes from, for messages. Raises `BackupError` unless it is one that
        nobody guesses."""
        secret = text.strip().encode()
        if len(secret) < SHORTEST_KEY or b"\n" in secret:
            raise BackupError(
                f"The key in {where} has {len(secret)} characters; one line of {SHORTEST_KEY} or "
                "more is needed. Make one: openssl rand -hex 32 > secrets/backup_key"
            )
        if shutil.which("openssl") is None:
            raise BackupError("openssl is not installed. Install it: apt-get install openssl")
        return cls(secret)

    @classmethod
    def read(cls, path: Path) -> Key:
        """The key in a file. Raises `BackupError`."""
        try:
            return cls.of(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeError) as error:
            raise BackupError(f"The key file {path} cannot be read: {error}") from error

    def sign(self, text: bytes) -> str:
        """HMAC-SHA256 in hexadecimal, with a key of its own that comes from this one."""
        own = hashlib.sha256(b"squeezeflow manifest\0" + self._secret).digest()
        return hmac.digest(own, text, "sha256").hex()

    def encrypt(self, folder: Path) -> None:
        """Put an encrypted file in the place of each. Raises `BackupError`."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self._openssl(path, path.with_name(path.name + SUFFIX))
                path.unlink()

    def decrypt(self, folder: Path, target: Path) -> None:
        """Write what the encrypted files hold into `target`. Raises `BackupError`."""
        for path in sorted(folder.rglob(f"*{SUFFIX}")):
            plain = target / path.relative_to(folder).with_suffix("")
            plain.parent.mkdir(parents=True, exist_ok=True)
            self._openssl(path, plain, "-d")

    def _openssl(self, source: Path, target: Path, *options: str) -> None:
        cipher = ("-aes-256-ctr", "-pbkdf2", "-iter", str(ITERATIONS), "-md", "sha256")
        files = ("-in", str(source), "-out", str(target))
        done = subprocess.run(
            ["openssl", "enc", *options, *cipher, "-pass", "stdin", *files],
            input=self._secret + b"\n",
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise BackupError(
                f"openssl cannot write {target}: {done.stderr.decode().strip()[-300:]}"
            )


def opened(folder: Path, *, encrypted: bool, key: Key | None, scratch: Path) -> Path:
    """The folder with the backup's files as they were before encryption. Raises `BackupError`."""
    if not encrypted or key is None:
        return folder
    target = scratch / "opened"
    target.mkdir(mode=0o700)
    key.decrypt(folder, target)
    return target
