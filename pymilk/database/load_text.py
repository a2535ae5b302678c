r"""Load a dump's text, statement by statement, and take down what came of each.

psql isn't used: whoever wrote the file could have it run programs here (`\!`), and when a table
can't be made it takes the rows that follow for statements.
"""

import re
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from pymilk.database.catalog import PLATFORM_SCHEMAS
from pymilk.database.connection import Connection, connect, first_line, on_database
from pymilk.database.lookalike import DefaultPrivileges, make_supabase_shaped
from pymilk.database.platform import give_keys, read_platform
from pymilk.database.services import stand_in_for_services
from pymilk.database.stamps import without_stamps
from pymilk.project.statements import Statement, split

_COPY = re.compile(rb"^COPY (?P<table>.+?) (?:\(.*\) )?FROM stdin;\r?\n$")
_CONNECT = re.compile(
    r"""\\connect \s+ (?:-reuse-previous=on \s+)?
    (?: "dbname='(?P<option>(?:[^'\\]|\\.)*)'" | "(?P<quoted>(?:[^"]|"")*)" | (?P<bare>\S+) )""",
    re.VERBOSE,
)
_VERSION = re.compile(rb"^-- Dumped from database version (?P<version>\S+)")
_STARTED = re.compile(rb"^-- Started on (?P<when>.+)$")
_NO_ROLE = re.compile(r'role "(?P<name>.*)" does not exist')
_OF_THE_PLATFORM = re.compile(
    rf'(?:schema|relation) "(?:{"|".join(map(re.escape, PLATFORM_SCHEMAS))})["."]'
)
_COMMANDS = (b"\\connect ", b"\\encoding ", b"\\restrict ", b"\\unrestrict ")
_END_OF_ROWS = (b"\\.\n", b"\\.\r\n")
# Statements are kept until there are so many bytes of them; rows in blocks of that size, too.
_ENOUGH = 1 << 20
# Databases are made by us, by other names: a dump's own must not meet those that are there.
_ABOUT_DATABASES = {("create", "database"), ("alter", "database"), ("drop", "database")}
_SEVERAL = 3


@dataclass(frozen=True)
class Refused:
    """A statement that the throw-away server did not take.

    Attributes:
        database: In which database of the dump.
        words: How it begins.
        why: What Postgres said.
    """

    database: str
    words: str
    why: str


@dataclass
class Loaded:
    """What came of a dump's text; filled while it is read.

    Attributes:
        databases: Database in the dump → the one that it was loaded into.
        rows: (database, table as SQL names it) → rows in the file.
        refused: Statements that were not taken.
        roles: Roles that the dump names and doesn't make.
        stood_in: Databases whose text speaks of the platform's schemas and doesn't make them.
        version: The server's version, as the dump says.
        started: When the dump was begun, where its text says so.
    """

    databases: dict[str, str] = field(default_factory=dict)
    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    stood_in: set[str] = field(default_factory=set)
    version: str = ""
    started: str = ""


def load_text(lines: Iterator[bytes], server_url: str, database: str) -> Loaded:
    """Load a dump's lines into new databases of a throw-away server.

    Args:
        lines: The text.
        server_url: The superuser's URL of any database there.
        database: What to call the database of a dump that doesn't name it.

    Raises:
        Problem: The text ends in the middle.
    """
    with ExitStack() as sessions:
        loading = _Loading(server_url, sessions)
        loading.enter(database)
        text: list[bytes] = []
        size = 0
        for line in lines:
            if line.startswith(b"COPY ") and (copy := _COPY.match(line)):
                loading.run(b"".join(text), rest=False)
                text, size = [], 0
                loading.copy(line, copy["table"], lines)
            elif line.startswith(_COMMANDS):
                loading.run(b"".join(text), rest=False)
                text, size = [], 0
                loading.obey(line.decode(errors="surrogateescape"))
            else:
                loading.note(line)
                text.append(line)
                size += len(line)
                if size > _ENOUGH:
                    text = [loading.run(b"".join(text), rest=True)]
                    size = len(text[0])
        loading.run(b"".join(text), rest=False)
        return loading.loaded


class _Loading:
    """The databases that a dump's text is loaded into, and where it stands."""

    def __init__(self, server_url: str, sessions: ExitStack) -> None:
        self.loaded = Loaded()
        self._server_url = server_url
        self._sessions = sessions
        self._database = ""
        self._connection: Connection | None = None

    @property
    def _session(self) -> Connection:
        if self._connection is None:
            raise AssertionError("a database is entered first")
        return self._connection

    def enter(self, database: str) -> None:
        """Go on in this database of the dump; it is made when it is first entered."""
        if database not in self.loaded.databases:
            name = f"loaded_{secrets.token_hex(8)}"
            with connect(self._server_url, purpose="restore test") as connection:
                connection.execute(
                    sql.SQL("create database {} template template0").format(sql.Identifier(name))
                )
            self.loaded.databases[database] = name
        if self._connection is not None:
            self._connection.close()
        url = on_database(self._server_url, self.loaded.databases[database])
        self._database = database
        self._connection = self._sessions.enter_context(connect(url, purpose="restore test"))

    def obey(self, command: str) -> None:
        """Do what psql would, where it counts."""
        if command.startswith("\\encoding "):
            self._session.execute(
                sql.SQL("set client_encoding = {}").format(sql.Literal(command.split()[1]))
            )
        found = _CONNECT.match(command)
        if found is not None:
            named = found["option"] or (found["quoted"] or "").replace('""', '"') or found["bare"]
            self.enter(re.sub(r"\\(.)", r"\1", named))

    def note(self, line: bytes) -> None:
        """Take down what a comment tells of the dump."""
        if line.startswith(b"-- "):
            if found := _VERSION.match(line):
                self.loaded.version = found["version"].decode()
            elif found := _STARTED.match(line):
                self.loaded.started = found["when"].decode()

    def run(self, text: bytes, *, rest: bool) -> bytes:
        """Run the statements of a text; with `rest`, all but the last, which is given back."""
        words = without_stamps(text.decode(errors="surrogateescape"))
        statements = split(words)
        kept = ""
        if rest and statements:
            kept = words[words.rindex(statements[-1].text) :]
            statements = statements[:-1]
        for statement in statements:
            if not statement.only_comment and statement.words[:2] not in _ABOUT_DATABASES:
                self._try(statement)
        return kept.encode(errors="surrogateescape")

    def _try(self, statement: Statement) -> None:
        """Run one statement; what it needs and the text doesn't make is made: then once more."""
        for _ in range(_SEVERAL):
            try:
                self._session.execute(statement.text.encode(errors="surrogateescape"))
            except psycopg.errors.UndefinedObject as error:
                missing = _NO_ROLE.search(str(error))
                if missing is None:
                    self._refuse(" ".join(statement.words[:6]), error)
                    return
                self._make_role(missing["name"])
            except (psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedTable) as error:
                if not self._stand_in(str(error)):
                    self._refuse(" ".join(statement.words[:6]), error)
                    return
            except psycopg.errors.ForeignKeyViolation as error:
                self._with_keys(statement, error)
                return
            except (psycopg.errors.DuplicateObject, psycopg.errors.DuplicateSchema):
                return  # a role or a schema that every server has: `postgres`, `public`
            except psycopg.DatabaseError as error:
                self._refuse(" ".join(statement.words[:6]), error)
                return
            else:
                return

    def _make_role(self, name: str) -> None:
        self._session.execute(sql.SQL("create role {} nologin").format(sql.Identifier(name)))
        self.loaded.roles.append(name)

    def _stand_in(self, said: str) -> bool:
        """Make the platform's part of this database, where it is what the text lacks.

        A dump of the project's own schemas refers to accounts and to functions of auth's.
        """
        if self._database in self.loaded.stood_in or not _OF_THE_PLATFORM.search(said):
            return False
        self.loaded.stood_in.add(self._database)
        url = on_database(self._server_url, self.loaded.databases[self._database])
        make_supabase_shaped(url, privileges=DefaultPrivileges.CLOSED)
        stand_in_for_services(url)
        return True

    def _with_keys(self, statement: Statement, error: psycopg.errors.ForeignKeyViolation) -> None:
        """Make a foreign key to rows that the file doesn't bring: accounts, as their keys alone."""
        table = sql.Identifier(error.diag.schema_name or "", error.diag.table_name or "")
        constraint = sql.Identifier(error.diag.constraint_name or "")
        text = statement.text.encode(errors="surrogateescape")
        try:
            with self._session.transaction():
                self._session.execute(text + b" not valid")
                if self._database in self.loaded.stood_in:
                    give_keys(self._session, read_platform(self._session))
                self._session.execute(
                    sql.SQL("alter table {} validate constraint {}").format(table, constraint)
                )
        except psycopg.DatabaseError:
            self._refuse(" ".join(statement.words[:6]), error)

    def copy(self, statement: bytes, table: bytes, lines: Iterator[bytes]) -> None:
        """Load the rows of one table; they are counted also where it could not be made."""
        name = table.decode(errors="surrogateescape")
        count = 0

        def rows() -> Iterator[bytes]:
            nonlocal count
            for line in lines:
                if line in _END_OF_ROWS:
                    return
                count += 1
                yield line

        source = rows()
        try:
            with self._session.cursor() as cursor, cursor.copy(statement) as copy:
                for block in _blocks(source):
                    copy.write(block)
        except psycopg.DatabaseError as error:
            for _ in source:
                pass
            self._refuse(f"copy {name}", error)
        self.loaded.rows[self._database, name] += count

    def _refuse(self, words: str, error: psycopg.Error) -> None:
        self.loaded.refused.append(Refused(self._database, words, first_line(error)))


def _blocks(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Lines joined to blocks that are worth a call."""
    block: list[bytes] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size > _ENOUGH:
            yield b"".join(block)
            block, size = [], 0
    yield b"".join(block)


def counted(loaded: Loaded, server_url: str) -> Mapping[tuple[str, str], int]:
    """(database, table as SQL names it) → rows that are there now, of every table loaded."""
    found: dict[tuple[str, str], int] = {}
    for database, name in loaded.databases.items():
        with connect(on_database(server_url, name), purpose="restore test") as connection:
            tables = connection.execute(
                "select n.nspname, c.relname,"
                " quote_ident(n.nspname) || '.' || quote_ident(c.relname)"
                " from pg_catalog.pg_class as c"
                " inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid"
                " where c.relkind = 'r' and n.nspname !~ '^pg_'"
                " and n.nspname <> 'information_schema' order by 1, 2"
            ).fetchall()
            for schema, table, in_sql in tables:
                row = connection.execute(
                    sql.SQL("select count(*) from only {}").format(sql.Identifier(schema, table))
                ).fetchone()
                found[database, in_sql] = row[0] if row else 0
    return found
