"""A connection that breaks exactly where a test wants it: a proxy in front of Postgres."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from psycopg import conninfo


class Cut(Enum):
    """When the connection of the deploy breaks."""

    BEFORE_COMMIT = "the commit never reaches the server"
    AFTER_COMMIT = "the server commits, and nobody hears of it"


class Proxy:
    """Passes everything through, until a session that notified PostgREST commits.

    Args:
        url: The real server.
        cut: What happens then, once.
    """

    def __init__(self, url: str, cut: Cut) -> None:
        self._upstream = conninfo.conninfo_to_dict(url)
        self._cut: Cut | None = cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.did_cut = False
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
            for source, sink in ((client, server), (server, client)):
                threading.Thread(
                    target=self._pass, args=(source, sink, source is client), daemon=True
                ).start()

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

    def _pass(self, source: socket.socket, sink: socket.socket, from_client: bool) -> None:  # noqa: FBT001
        armed = False
        try:
            while data := source.recv(65536):
                if from_client and armed and b"COMMIT" in data and self._cut is not None:
                    self._break(data, source, sink)
                    return
                armed = from_client and (armed or b"notify pgrst" in data)
                sink.sendall(data)
        except OSError:
            pass  # the other direction has closed both
        finally:
            for end in (source, sink):
                end.close()

    def _break(self, data: bytes, client: socket.socket, server: socket.socket) -> None:
        cut, self._cut, self.did_cut = self._cut, None, True
        # First the client's side: it must not hear the answer that the other thread would pass on.
        client.shutdown(socket.SHUT_RDWR)
        if cut is Cut.AFTER_COMMIT:
            server.sendall(data)
        else:
            server.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(url: str, cut: Cut) -> Iterator[Proxy]:
    """A proxy in front of a server, closed when the block ends."""
    made = Proxy(url, cut)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join(timeout=10)
