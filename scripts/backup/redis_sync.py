"""A dump of Redis over its own connection, as a replica would ask for one.

Needs no file of the server's, so that it works from another container and another machine.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import IO

from scripts.backup.errors import BackupError

TIMEOUT_S = 600.0
PIECE_BYTES = 1 << 20


def fetch(host: str, port: int, password: str, target: Path) -> None:
    """Write the dump to a file. Raises `BackupError`."""
    try:
        with (
            socket.create_connection((host, port), timeout=TIMEOUT_S) as connection,
            connection.makefile("rb") as answers,
            target.open("wb") as file,
        ):
            if password:
                _send(connection, "AUTH", password)
                if not (answer := answers.readline()).startswith(b"+OK"):
                    raise BackupError(f"Redis refuses the login: {answer.decode().strip()}")
            _send(connection, "SYNC")
            left = _length(answers)
            while left:
                piece = answers.read(min(left, PIECE_BYTES))
                if not piece:
                    raise BackupError(f"Redis ended its dump {left} bytes early.")
                file.write(piece)
                left -= len(piece)
    except OSError as error:
        raise BackupError(
            f"Redis on {host}:{port} gives no dump: {error}. Its log says why: often memory "
            "(vm.overcommit_memory) or a full disk."
        ) from error


def _length(answers: IO[bytes]) -> int:
    """Redis sends empty lines while it writes the dump, then `$LENGTH`."""
    while True:
        line = answers.readline()
        if not line:
            raise BackupError("Redis closed the connection instead of sending a dump.")
        if line.startswith(b"$"):
            return int(line[1:])
        if line.strip():
            raise BackupError(f"Redis gives no dump: {line.decode(errors='replace').strip()}")


def _send(connection: socket.socket, *words: str) -> None:
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
