"""A proxy in front of Postgres that cuts connections around a call, whenever a test wants it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum

from psycopg import conninfo

# Every call of the client sets its key in the message that makes it.
_CALL = b"pymilk.idempotency_key"


class Break(Enum):
    """Where the connection of a call breaks."""

    BEFORE = "the call never reaches the server"
    DURING = "half of the call reaches the server"
    UNHEARD = "the call reaches the server, and the connection is cut while it works"
    AFTER = "the server has committed and answered, and the answer never comes"


class Flaky:
    """Passes everything through but for the calls that a test picks.

    Args:
        url: The real server.
        pick: What becomes of the next call; None passes it through.
        mark: What a message has in it that is a call.

    Attributes:
        url: What leads through it.
        cuts: How many connections it has cut.
    """

    def __init__(self, url: str, pick: Callable[[], Break | None], mark: bytes) -> None:
        self._upstream = conninfo.conninfo_to_dict(url)
        self._pick = pick
        self._mark = mark
        self._turn = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.cuts = 0
        port = self._listener.getsockname()[1]
        self.url = conninfo.make_conninfo(url, host="127.0.0.1", port=port, sslmode="disable")

    def serve(self) -> None:
        """Accept connections until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = self._connect()
            mute = threading.Event()
            for run in (self._requests, self._answers):
                threading.Thread(target=run, args=(client, server, mute), daemon=True).start()

    def close(self) -> None:
        """Accept no more."""
        # A blocked accept ends when the socket is shut down, not when it is closed.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _connect(self) -> socket.socket:
        host, port = str(self._upstream["host"]), int(self._upstream.get("port") or 5432)
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _requests(
        self, client: socket.socket, server: socket.socket, mute: threading.Event
    ) -> None:
        with suppress(OSError), client, server:
            while data := client.recv(65536):
                with self._turn:
                    cut = self._pick() if self._mark in data else None
                    self.cuts += cut is not None
                match cut:
                    case Break.BEFORE:
                        _end(client, server)
                        return
                    case Break.DURING:
                        server.sendall(data[: len(data) // 2])
                        _end(client, server)
                        return
                    case Break.UNHEARD:
                        mute.set()
                        server.sendall(data)
                        _end(client, server)
                        return
                    case Break.AFTER:
                        mute.set()  # and the thread of the answers cuts it when one comes
                        server.sendall(data)
                    case None:
                        server.sendall(data)
            _end(client, server)

    @staticmethod
    def _answers(client: socket.socket, server: socket.socket, mute: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if mute.is_set():
                    break
                client.sendall(data)
        _end(client, server)


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def flaky(url: str, pick: Callable[[], Break | None], mark: bytes = _CALL) -> Iterator[Flaky]:
    """A proxy in front of a server, closed when the block ends."""
    made = Flaky(url, pick, mark)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join(timeout=10)
