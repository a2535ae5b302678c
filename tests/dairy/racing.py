"""Two sessions at once, made deterministic: the second is seen waiting before the first ends."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dairy.books import Books
from support.databases import Connection, Database
from support.sessions import wait_until_blocked

B = TypeVar("B", bound=Books)


@dataclass(frozen=True)
class Race(Generic[B]):
    """A first session in a transaction, a second one that commits by itself, and who watches."""

    first: B
    second: B
    watcher: B
    pool: ThreadPoolExecutor

    def second_waits(self, action: Callable[[], object]) -> Future[object]:
        """Start the second session's action and wait until it is seen waiting for the first."""
        waiting = self.pool.submit(action)
        wait_until_blocked(self.watcher.connection, self.second.connection.info.backend_pid)
        return waiting

    def first_commits(self, waiting: Future[object]) -> Any:  # noqa: ANN401 - what was called
        """End the first session's transaction; what the second then comes to."""
        self.first.connection.commit()
        return waiting.result(timeout=10)


@contextmanager
def racing(database: Database, keep: Callable[[Connection], B]) -> Iterator[Race[B]]:
    """The sessions of a race in a database, and how each keeps its books."""
    with ThreadPoolExecutor() as pool:
        yield Race(
            first=keep(database.connect()),
            second=keep(database.connect(autocommit=True)),
            watcher=keep(database.connect(autocommit=True)),
            pool=pool,
        )
