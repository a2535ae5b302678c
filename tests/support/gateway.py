"""What stands between a client and PostgREST: Supabase's paths, and what goes wrong there.

It passes requests of /rest/v1/… on, as Supabase's gateway does. A test says beforehand what becomes
of the next ones.
"""

import http.client
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PREFIX = "/rest/v1"
PAGE = b"<html><body><h1>Bad gateway</h1></body></html>"


class Fault(Enum):
    """What becomes of a request."""

    NONE = "it is passed on"
    CUT_BEFORE = "the connection is cut, and PostgREST never sees it"
    CUT_AFTER = "PostgREST answers, and the connection is cut"
    PAGE_BEFORE = "a page of HTML is answered, and PostgREST never sees it"
    PAGE_AFTER = "PostgREST answers, and a page of HTML is passed back"
    GARBLED = "PostgREST answers, and what is passed back isn't the gzip that it says it is"
    ROUND = "it is sent to where it came, and PostgREST never sees it"
    NEVER = "PostgREST answers, and nobody hears of it"


class Gateway:
    """A gateway in front of PostgREST.

    Attributes:
        url: What a client takes for the project's URL.
        seen: The requests that came, as `Idempotency-Key` and path.
        headers: The headers of the last request.
    """

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._faults: deque[Fault] = deque()
        self._turn = threading.Lock()
        self._ended = threading.Event()
        self.seen: list[tuple[str | None, str]] = []
        self.headers: dict[str, str] = {}
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                gateway._handle(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def next(self, *faults: Fault) -> None:
        """What becomes of the next requests, in order; those after them are passed on."""
        with self._turn:
            self._faults.extend(faults)

    def serve(self) -> None:
        """Answer until it is closed."""
        self._server.serve_forever(poll_interval=0.02)

    def close(self) -> None:
        """Answer no more."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        with self._turn:
            fault = self._faults.popleft() if self._faults else Fault.NONE
            self.headers = {name.lower(): value for name, value in request.headers.items()}
            self.seen.append((request.headers.get("Idempotency-Key"), request.path))
        if fault is Fault.CUT_BEFORE:
            self._cut(request)
            return
        if fault is Fault.PAGE_BEFORE:
            self._answer(request, 502, [("Content-Type", "text/html")], PAGE)
            return
        if fault is Fault.ROUND:
            self._answer(request, 307, [("Location", request.path)], b"")
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=30)
        try:
            upstream.request(
                "POST", request.path.removeprefix(_PREFIX), body, self._passed(request)
            )
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        if fault is Fault.CUT_AFTER:
            self._cut(request)
        elif fault is Fault.NEVER:
            self._ended.wait(20)
            self._cut(request)
        elif fault is Fault.PAGE_AFTER:
            self._answer(request, 504, [("Content-Type", "text/html")], PAGE)
        else:
            kept = [(n, v) for n, v in answer.getheaders() if n.lower().startswith("content-t")]
            if fault is Fault.GARBLED:
                kept.append(("Content-Encoding", "gzip"))
            self._answer(request, answer.status, kept, content)

    @staticmethod
    def _passed(request: BaseHTTPRequestHandler) -> dict[str, str]:
        hop = {"host", "connection", "accept-encoding", "content-length"}
        return {name: value for name, value in request.headers.items() if name.lower() not in hop}

    @staticmethod
    def _cut(request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        request.connection.close()

    @staticmethod
    def _answer(
        request: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], body: bytes
    ) -> None:
        request.send_response(status)
        for name, value in headers:
            request.send_header(name, value)
        if status != 204:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@contextmanager
def gateway(upstream: int) -> Iterator[Gateway]:
    """A gateway in front of the PostgREST at a port, until the block ends."""
    made = Gateway(upstream)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join(timeout=10)
