"""Read something soon, or say who is in the way: whoever asks where things stand waits for it."""

from collections.abc import Callable
from typing import TypeVar

from psycopg.errors import LockNotAvailable

from pymilk.database.connection import Connection, Target, connect
from pymilk.deploy.basis.blockers import watching
from pymilk.deploy.basis.lock import session_of
from pymilk.problem import TryAgainLater
from pymilk.project.policy import Preset

T = TypeVar("T")

# Long enough for whoever passes by. The second time somebody looks who it is: that costs a session.
_LOCK_TIMEOUT = "1s"


def read_soon(url: str, purpose: str, read: Callable[[Connection], T]) -> T:
    """What `read` gives, of tables that hardly anybody ever locks.

    Args:
        url: The database.
        purpose: What it is for; the server shows it as application_name.
        read: Only reads; it is called again when it had to wait for too long.

    Raises:
        TryAgainLater: Somebody holds a lock on what is to be read; says who.
        Problem: The database can't be reached.
    """
    with connect(url, purpose=purpose) as connection:
        connection.execute("select set_config('lock_timeout', %s, false)", (_LOCK_TIMEOUT,))
        try:
            return read(connection)
        except LockNotAvailable:
            return _read_watched(url, connection, read)


def _read_watched(url: str, connection: Connection, read: Callable[[Connection], T]) -> T:
    with watching(Target(url, Preset.LIVE), session_of(connection)) as in_the_way:
        try:
            return read(connection)
        except LockNotAvailable as error:
            pid = in_the_way.blockers[0].pid if in_the_way.blockers else "…"
            raise TryAgainLater(
                "The migration history or the ledger is locked, so where the migrations stand"
                f" can't be read; in the way: {in_the_way}.",
                state="Nothing was changed: it was only to be read.",
                todo="Run it again when that session has ended its transaction, or end it:"
                f" select pg_terminate_backend({pid}).",
            ) from error
