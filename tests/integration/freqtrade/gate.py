"""A way to Redis on which requests, or the answers to them, get lost at chosen points."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

READ = 1 << 16
TURN_S = 0.2


class Loss(Enum):
    """What gets lost, together with the connection."""

    REQUEST = "request"
    ANSWER = "answer"


class Gate:
    """Listens on `port` of 127.0.0.1 and passes everything on to a Redis.

    `rule` is asked about each request as it was sent, a pipeline being one request; what it names
    gets lost. Redis has carried a request out by the time its answer gets lost. `after_loss` is
    called before the client learns of the loss.
    """

    def __init__(self, redis_port: int) -> None:
        self.rule: Callable[[bytes], Loss | None] = lambda request: None
        self.after_loss: Callable[[], None] = lambda: None
        self.lost = 0
        self._redis_port = redis_port
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def port(self) -> int:
        """Where to connect to."""
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> Gate:
        self._listener.settimeout(TURN_S)
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self._redis_port))
            with server:
                self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        while not self._stopping.is_set():
            ready, _, _ = select.select([client, server], [], [], TURN_S)
            if server in ready:
                if not (answer := server.recv(READ)):
                    return
                client.sendall(answer)
            if client in ready:
                if not (request := client.recv(READ)):
                    return
                if self._loses(request, server):
                    return
                server.sendall(request)

    def _loses(self, request: bytes, server: socket.socket) -> bool:
        with self._lock:
            loss = self.rule(request)
            if loss is None:
                return False
            if loss is Loss.ANSWER:
                server.sendall(request)
                server.shutdown(socket.SHUT_WR)
                while server.recv(READ):
                    pass
            self.lost += 1
            self.after_loss()
        return True
