"""Databases for tests: templates made once a run, and a clone for each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import TupleRow

from pymilk.database.cluster import SUPERUSER
from pymilk.database.lookalike import make_supabase_shaped
from support.servers import Server

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = ROOT / "supabase" / "migrations"

Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True)
class Database:
    """One test's own database.

    Attributes:
        name: Its name on the server.
        server: The server that it is on.
    """

    name: str
    server: Server
    _opened: ExitStack = field(default_factory=ExitStack, repr=False)

    @property
    def url(self) -> str:
        """For the owner, postgres: who migrations run as."""
        return self.server.url(self.name, "postgres")

    @property
    def superuser_url(self) -> str:
        """For the superuser, supabase_admin."""
        return self.server.url(self.name, SUPERUSER)

    def connect(
        self, *, user: str = "postgres", role: str | None = None, autocommit: bool = False
    ) -> Connection:
        """A session that is closed when the test ends.

        Args:
            user: The role to log in as: postgres or supabase_admin.
            role: The role to switch to, as PostgREST does: anon, authenticated, service_role.
            autocommit: psycopg's.
        """
        connection = self._opened.enter_context(
            psycopg.connect(self.server.url(self.name, user), autocommit=True)
        )
        if role is not None:
            # Outside of any transaction: a rollback must not take the role back.
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        connection.autocommit = autocommit
        return connection

    @contextmanager
    def lent(self) -> Iterator["Database"]:
        """The same database for a while: what is opened by it ends with the block."""
        borrower = Database(self.name, self.server)
        with borrower._opened:
            yield borrower


class Templates:
    """The template databases of one server, each made when a test first needs it.

    Args:
        server: Where they are.
        prefix: What their names and their clones' begin with: others may use the server too.

    Attributes:
        ready: Stage → its template, where tests/mutation has made it already.
        before_drop: What to do with a clone and its stage before it goes.
    """

    ready: ClassVar[dict[str, str]] = {}
    before_drop: ClassVar[list[Callable[[Database, str], None]]] = []

    def __init__(self, server: Server, prefix: str) -> None:
        self._server = server
        self._prefix = prefix
        self._made: set[str] = set()
        self._numbers = count(1)

    @contextmanager
    def clone(self, stage: str) -> Iterator[Database]:
        """A database like the template of this stage, dropped when the block ends."""
        with self._copy(self._template(stage)) as database:
            try:
                with database.lent() as clone:
                    yield clone
            finally:
                for each in self.before_drop:
                    each(database, stage)

    @contextmanager
    def like(self, database: Database) -> Iterator[Database]:
        """A copy of a clone as it is now, dropped when the block ends; nobody may be using it."""
        with self._copy(database.name) as copied, copied.lent() as copy:
            yield copy

    @contextmanager
    def _copy(self, name: str) -> Iterator[Database]:
        database = Database(f"{self._prefix}_{next(self._numbers)}", self._server)
        self._create(database.name, name)
        try:
            yield database
        finally:
            self._server.drop(database.name)

    def drop_all(self) -> None:
        """Drop the templates."""
        for name in self._made:
            self._server.drop(name)

    def _template(self, stage: str) -> str:
        if stage in self.ready:
            return self.ready[stage]
        name = f"{self._prefix}_{stage}"
        if name not in self._made:
            self._made.add(name)
            try:
                self._make(stage, name)
            except BaseException:
                # A half-made template must not serve the next test.
                self._made.discard(name)
                self._server.drop(name)
                raise
        return name

    def _make(self, stage: str, name: str) -> None:
        if stage == "empty":
            self._create(name, "template0")
            make_supabase_shaped(self._server.url(name, SUPERUSER))
            return
        before, change = _stages()[stage]
        self._create(name, self._template(before))
        with psycopg.connect(self._server.url(name, "postgres")) as connection:
            change(connection)

    def _create(self, name: str, template: str) -> None:
        self._server.administer(
            "create database {} template {} owner postgres strategy file_copy", name, template
        )


GAPS = tuple(f"{number:03}" for number in range(1, 11))
"""The gaps, in the order in which they are fixed."""

STAGES = ("empty", "baseline", "dairy", *(f"dairy_{gap}" for gap in GAPS), "dairy_hardened")
"""What there is a template of, each made of the one before it; the last has everything."""


def _stages() -> dict[str, tuple[str, Callable[[Connection], None]]]:
    """Stage → the stage before it, and what makes the one of the other."""
    stages: dict[str, tuple[str, Callable[[Connection], None]]] = {
        "baseline": ("empty", partial(_migrate, pattern="*_baseline.sql")),
        "dairy": ("baseline", _load_dairy),
    }
    before = "dairy"
    for gap in GAPS:
        stages[f"dairy_{gap}"] = (before, partial(_migrate, pattern=f"*_gap_{gap}_*.sql"))
        before = f"dairy_{gap}"
    stages["dairy_hardened"] = (before, _migrate_what_is_no_gap)
    return stages


def after_the_gaps() -> list[Path]:
    """The migrations that come after the gaps, harden_access the first of them."""
    found = sorted(MIGRATIONS.glob("*.sql"))
    return found[[path.stem.endswith("_harden_access") for path in found].index(True) :]


def _migrate_what_is_no_gap(connection: Connection) -> None:
    for path in after_the_gaps():
        connection.execute(path.read_bytes())


def _migrate(connection: Connection, pattern: str) -> None:
    found = sorted(MIGRATIONS.glob(pattern))
    if len(found) != 1:
        pytest.fail(f"expected one migration {pattern} in {MIGRATIONS}, found {len(found)}")
    connection.execute(found[0].read_bytes())


def _load_dairy(connection: Connection) -> None:
    # Imported here, so that tests without the dairy do not depend on it.
    from pymilk.demo import dairy  # noqa: PLC0415

    dairy.load(connection)
