"""Eight clients of the API over HTTP, made so thin that PostgREST and the database are measured.

A request is bytes that were made beforehand, sent on a connection that stays open.
"""

import json
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from pgbench import CLIENTS
from support.postgrest import PostgREST

_END_OF_HEADERS = b"\r\n\r\n"


def request(api: PostgREST, token: str, method: str, path: str, body: object = None) -> bytes:
    """One request, as supabase-js would send it.

    Args:
        api: Who is asked.
        token: A JWT.
        method: GET, POST, PATCH or DELETE.
        path: With its query.
        body: What is sent as JSON.
    """
    content = b"" if body is None else json.dumps(body).encode()
    lines = (
        f"{method} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{api.port}",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        "Accept: application/json",
        "Prefer: return=minimal",
        f"Content-Length: {len(content)}",
    )
    return "\r\n".join(lines).encode() + _END_OF_HEADERS + content


def turns_per_second(
    api: PostgREST, series: Callable[[int], Sequence[bytes]], *, turns: int
) -> float:
    """Send the requests of each turn one after the other, by several clients at once.

    Args:
        api: Who is asked.
        series: The requests of a turn, by its number.
        turns: How many, of all clients together.

    Returns:
        Turns a second.

    Raises:
        RuntimeError: a request was refused.
    """
    each = turns // CLIENTS
    made = [[series(n) for n in range(c * each, (c + 1) * each)] for c in range(CLIENTS)]
    ready = Barrier(CLIENTS + 1)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(_client, api.port, requests, ready) for requests in made]
        ready.wait()
        began = time.perf_counter()
        for client in clients:
            client.result()
        return each * CLIENTS / (time.perf_counter() - began)


def _client(port: int, turns: Sequence[Sequence[bytes]], ready: Barrier) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready.wait()
        for turn in turns:
            for sent in turn:
                connection.sendall(sent)
                _read_answer(connection)


def _read_answer(connection: socket.socket) -> None:
    """Read one answer to its end, and see that it is a success."""
    data = b""
    while not _complete(data):
        received = connection.recv(65536)
        if not received:
            raise RuntimeError("PostgREST has hung up")
        data += received
    if not data.startswith(b"HTTP/1.1 2"):
        raise RuntimeError(data.decode(errors="replace"))


def _complete(data: bytes) -> bool:
    head, found, body = data.partition(_END_OF_HEADERS)
    if not found:
        return False
    if b" 204 " in head[:20]:
        return True
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        return body.endswith(b"0\r\n\r\n")
    length = lower.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return len(body) >= int(length or 0)
