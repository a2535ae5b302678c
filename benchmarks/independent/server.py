"""A Postgres of the measurement's own, and databases on it in the shapes that are compared."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from pymilk.database.embedded import EmbeddedServer
from pymilk.database.lookalike import make_supabase_shaped

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = ROOT / "supabase" / "migrations"
SUPERUSER = "supabase_admin"
OWNER = "postgres"

Connection = psycopg.Connection[TupleRow]
Setting = tuple[str, str]
Values = Sequence[object] | Mapping[str, object]

COMMON: tuple[Setting, ...] = (
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("timezone", "UTC"),
    ("max_connections", "100"),
    ("dynamic_shared_memory_type", "mmap"),
    ("shared_buffers", "1GB"),
    ("effective_cache_size", "3GB"),
    # A checkpoint or a vacuum in the middle of one side would be measured as that side's. Each
    # measurement does its own before it begins.
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
)
"""A small hosted server's memory; everything else is Postgres's default."""

DURABLE: tuple[Setting, ...] = COMMON
"""Commits reach the disk."""

LOOPBACK = f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}.9"
"""An address of the loopback that nobody else listens at; who connects comes from 127.0.0.1."""

ON_LOOPBACK: tuple[Setting, ...] = (
    *(setting for setting in DURABLE if setting[0] != "listen_addresses"),
    ("listen_addresses", LOOPBACK),
)
"""Durable, and reached over TCP as well."""

FOR_READING: tuple[Setting, ...] = (
    *COMMON,
    ("fsync", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
)
"""Where only reads are measured: what is loaded need not survive."""


@dataclass(frozen=True)
class Server:
    """A running Postgres, shaped like Supabase."""

    embedded: EmbeddedServer

    def url(self, database: str, user: str = OWNER) -> str:
        """The URL of a database."""
        return self.embedded.url(database, user)

    def loopback(self, database: str, user: str = OWNER) -> str:
        """The URL of a database over TCP, where the server listens on the loopback."""
        return f"postgresql://{user}@{LOOPBACK}:5432/{database}"

    def connect(self, database: str, user: str = OWNER) -> Connection:
        """A session in autocommit."""
        return psycopg.connect(self.url(database, user), autocommit=True)

    def create(self, name: str, *, upto: str | None = None, migrate: bool = True) -> None:
        """Make a Supabase-shaped database.

        Args:
            name: Its name.
            upto: The last migration that is applied, by the end of its stem; all without it.
            migrate: Whether any are.
        """
        self.administer("create database {} template template0 owner postgres", name)
        make_supabase_shaped(self.url(name, SUPERUSER))
        if not migrate:
            return
        for path in sorted(MIGRATIONS.glob("*.sql")):
            with psycopg.connect(self.url(name)) as session:
                session.execute(path.read_bytes())
            if upto is not None and path.stem.endswith(upto):
                break

    def clone(self, name: str, template: str) -> None:
        """Copy a database, file by file."""
        self.administer("drop database if exists {} with (force)", name)
        self.administer(
            "create database {} template {} owner postgres strategy file_copy", name, template
        )

    def drop(self, name: str) -> None:
        """Drop a database."""
        self.administer("drop database if exists {} with (force)", name)

    def strip(self, database: str) -> None:
        """Drop all triggers, checks and foreign keys: what is left are the rows and indexes."""
        with self.connect(database, SUPERUSER) as session:
            for (statement,) in session.execute(_STRIPPING).fetchall():
                session.execute(str(statement).encode())

    def administer(self, statement: str, *names: str) -> None:
        """Run a statement about databases, with names put in."""
        composed = sql.SQL(statement).format(*map(sql.Identifier, names))
        with self.connect("postgres", SUPERUSER) as session:
            session.execute(composed)

    def settle(self, database: str) -> None:
        """Before something is timed: vacuumed, analysed, written to disk."""
        with self.connect(database, SUPERUSER) as session:
            session.execute("vacuum (analyze)")
            session.execute("checkpoint")


_STRIPPING = """
select format('alter table %s drop constraint %I', conrelid::regclass, conname)
from pg_catalog.pg_constraint
where contype in ('c', 'f') and connamespace in ('public'::regnamespace, to_regnamespace('private'))
  and conrelid <> 0
union all
select format('drop trigger %I on %s', tgname, tgrelid::regclass)
from pg_catalog.pg_trigger inner join pg_catalog.pg_class on tgrelid = pg_class.oid
where not tgisinternal
  and relnamespace in ('public'::regnamespace, to_regnamespace('private'))
"""


@contextmanager
def running(settings: tuple[Setting, ...] = DURABLE) -> Iterator[Server]:
    """A server until the block ends; its data go with it."""
    folder = Path(tempfile.mkdtemp(prefix="independent-"))
    embedded = EmbeddedServer(folder / "server", settings)
    try:
        embedded.start()
        yield Server(embedded)
    finally:
        embedded.destroy()
        shutil.rmtree(folder, ignore_errors=True)


def one(session: Connection, query: str, values: Values | None = None) -> object:
    """The one value of a query."""
    row = session.execute(query.encode(), values).fetchone()
    if row is None:
        raise LookupError(f"no row: {query}")
    value: object = row[0]
    return value


def number(session: Connection, query: str, values: Values | None = None) -> float:
    """The one number of a query."""
    value = one(session, query, values)
    return float(str(value))
