"""Several clients at once, each a process of its own with a session of its own."""

import http.client
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import Protocol, TypeVar

import psycopg

from independent.server import Values

CLIENTS = 8
_WARM_UP = 10

Task = TypeVar("Task")


class Session(Protocol):
    """One round trip after the other."""

    def trip(self, what: str, values: Values) -> object:
        """Send a statement (or a request), and wait for its answer."""

    def close(self) -> None:
        """End it."""


class SqlSession:
    """Statements over psycopg, prepared, each a transaction and a round trip of its own.

    Args:
        url: The database.
        before: What is executed first, such as `set role`.
        round_trip: Seconds that each trip takes longer, as if the server stood farther away. They
            are slept: nothing has to pass them on, which would take the processor from the server.
    """

    def __init__(self, url: str, before: Sequence[str] = (), round_trip: float = 0.0) -> None:
        self.connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)
        # One plan for all calls: none of these statements gains from another one.
        for statement in ("set plan_cache_mode = force_generic_plan", *before):
            self.connection.execute(statement.encode(), prepare=False)
        self._round_trip = round_trip

    def trip(self, what: str, values: Values) -> object:
        """Execute a statement; the first row, if it returns any."""
        if self._round_trip:
            time.sleep(self._round_trip)
        cursor = self.connection.execute(what.encode(), values)
        return None if cursor.description is None else cursor.fetchone()

    def close(self) -> None:
        """End the session."""
        self.connection.close()


class HttpSession:
    """Requests to PostgREST over one connection, as one user.

    A statement is `METHOD path`, its values are the body.
    """

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
        }

    def trip(self, what: str, values: Values) -> object:
        """Send a request; the decoded answer, if there is a body."""
        method, path = what.split(" ", 1)
        # Rows that were written are asked back only where their id is needed.
        prefer = "representation" if method == "POST" and path.endswith("select=id") else "minimal"
        body = None if method in {"GET", "DELETE"} else json.dumps(values)
        headers = (
            self._headers if "/rpc/" in path else {**self._headers, "Prefer": f"return={prefer}"}
        )
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= http.client.BAD_REQUEST:
            raise RequestRefusedError(answer.status, content.decode(errors="replace"))
        return json.loads(content) if content else None

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class RequestRefusedError(Exception):
    """PostgREST answered a request with an error."""


@dataclass(frozen=True)
class Ran:
    """What clients did.

    Attributes:
        calls: How many went through.
        seconds: From the first call's begin to the last one's end.
        failed: What was said to those that didn't, and how often.
    """

    calls: int
    seconds: float
    failed: Counter[str]

    @property
    def rate(self) -> float:
        """Calls a second, of all clients together."""
        return self.calls / self.seconds


def run(
    opening: Callable[[], Session],
    perform: Callable[[Session, Task], None],
    work: Sequence[Sequence[Task]],
) -> Ran:
    """Let each client do its tasks, all beginning at the same moment.

    The first few tasks of each client come before that moment: its session compiles and plans.

    Args:
        opening: Opens a client's session, in its process.
        perform: One task.
        work: The tasks of each client.
    """
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(work))
    started: list[tuple[multiprocessing.context.ForkProcess, Pipe]] = []

    def client(tasks: Sequence[Task], pipe: Pipe) -> None:
        session = opening()
        failed: Counter[str] = Counter()
        warm = min(_WARM_UP, len(tasks) // 4)
        for task in tasks[:warm]:
            perform(session, task)
        barrier.wait(timeout=120)
        began = time.monotonic()
        for task in tasks[warm:]:
            try:
                perform(session, task)
            except (psycopg.Error, RequestRefusedError) as error:
                failed[_said(error)] += 1
        ended = time.monotonic()
        session.close()
        pipe.send((began, ended, failed, len(tasks) - warm))

    for tasks in work:
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=client, args=(tasks, there))
        process.start()
        there.close()
        started.append((process, here))
    told = []
    for process, pipe in started:
        try:
            told.append(pipe.recv())
        except EOFError:
            barrier.abort()
            raise RuntimeError("a client ended without a word; its error stands above") from None
        finally:
            process.join()
    failed: Counter[str] = sum((each[2] for each in told), Counter())
    calls = sum(each[3] for each in told)
    seconds = max(each[1] for each in told) - min(each[0] for each in told)
    return Ran(calls - failed.total(), seconds, failed)


def _said(error: Exception) -> str:
    if isinstance(error, psycopg.Error):
        return f"{error.sqlstate} {str(error).splitlines()[0] if str(error) else ''}"
    return str(error)
