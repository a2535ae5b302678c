"""Two sessions at once, made deterministic: the second is seen waiting before the first ends."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from dairy.books import Books
from support.databases import Database
from support.sessions import wait_until_blocked


@dataclass(frozen=True)
class Race:
    """A first session in a transaction, a second one that commits by itself, and who watches."""

    first: Books
    second: Books
    watcher: Books
    pool: ThreadPoolExecutor

    def second_waits(self, action: Callable[[], object]) -> Future[object]:
        """Start the second session's action and wait until it is seen waiting for the first."""
        waiting = self.pool.submit(action)
        wait_until_blocked(self.watcher.connection, self.second.connection.info.backend_pid)
        return waiting


@contextmanager
def racing(database: Database) -> Iterator[Race]:
    """The sessions of a race in a database."""
    with ThreadPoolExecutor() as pool:
        yield Race(
            first=Books(database.connect()),
            second=Books(database.connect(autocommit=True)),
            watcher=Books(database.connect(autocommit=True)),
            pool=pool,
        )
