r"""Load a dump's text, statement by statement, and take down what came of each.

psql isn't used: whoever wrote the file could have it run programs here (`\!`), and when a table
can't be made it takes the rows that follow for statements. For the same reason the statements are
run by a role that is no superuser (`loader.py`).
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from pymilk.database.catalog import PLATFORM_SCHEMAS
from pymilk.database.connection import Connection, first_line
from pymilk.database.loader import Loader, hand_over, is_superuser, make_role, may_be_given
from pymilk.database.others_words import (
    as_no_superuser,
    given_in,
    is_about_event_triggers,
    role_made_in,
    role_spoken_of,
    schema_made_in,
)
from pymilk.database.platform import give_keys, read_platform
from pymilk.database.services import platform_text
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
class NotTaken:
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
    refused: list[NotTaken] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    stood_in: set[str] = field(default_factory=set)
    version: str = ""
    started: str = ""


def load_text(lines: Iterator[bytes], loader: Loader, database: str) -> Loaded:
    """Load a dump's lines into new databases of a throw-away server.

    Args:
        lines: The text.
        loader: The server, and the role that the text is run as.
        database: What to call the database of a dump that doesn't name it.

    Raises:
        Problem: The text ends in the middle.
    """
    with ExitStack() as sessions:
        loading = _Loading(loader, sessions)
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
        loading.finish()
        return loading.loaded


class _Loading:
    """The databases that a dump's text is loaded into, and where it stands."""

    def __init__(self, loader: Loader, sessions: ExitStack) -> None:
        self.loaded = Loaded()
        self._loader = loader
        self._sessions = sessions
        self._guarded: dict[str, Connection] = {}
        self._about_event_triggers: list[tuple[str, Statement]] = []
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
            self.loaded.databases[database] = self._loader.new_database()
        if self._connection is not None:
            self._connection.close()
        self._database = database
        self._connection = self._new_session(database)

    def _new_session(self, database: str) -> Connection:
        session = self._loader.session(self.loaded.databases[database])
        return self._sessions.enter_context(session)

    @property
    def _on_guard(self) -> Connection:
        """A superuser's session beside the loader's, for what only he can do."""
        if self._database not in self._guarded:
            session = self._loader.guarded(self.loaded.databases[self._database])
            self._guarded[self._database] = self._sessions.enter_context(session)
        return self._guarded[self._database]

    def finish(self) -> None:
        """Do what is left when everything is loaded: then nobody is the loader any more."""
        self._session.close()
        for name in self.loaded.databases.values():
            with self._loader.session(name) as session:
                hand_over(session)
        for database, statement in self._about_event_triggers:
            self._database = database
            try:
                self._on_guard.execute(statement.text.encode(errors="surrogateescape"))
            except psycopg.DatabaseError as error:
                self._refuse(" ".join(statement.words[:6]), error)

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
            if statement.only_comment or statement.words[:2] in _ABOUT_DATABASES:
                continue
            if is_about_event_triggers(statement):
                self._about_event_triggers.append((self._database, statement))
            else:
                self._try(statement)
        return kept.encode(errors="surrogateescape")

    def _try(self, statement: Statement) -> None:
        """Run one statement; what it needs and the text doesn't make is made: then once more."""
        text = as_no_superuser(statement).encode(errors="surrogateescape")
        for _ in range(_SEVERAL):
            try:
                self._session.execute(text)
            except psycopg.errors.ForeignKeyViolation as error:
                self._with_keys(statement, error)
            except (psycopg.errors.DuplicateObject, psycopg.errors.DuplicateSchema):
                pass  # a role or a schema that every server has: `postgres`, `public`
            except psycopg.DatabaseError as error:
                if self._made_what_it_needs(error):
                    continue
                denied = isinstance(error, psycopg.errors.InsufficientPrivilege)
                if not (denied and self._by_who_may(statement)):
                    self._refuse(" ".join(statement.words[:6]), error)
            return

    def _made_what_it_needs(self, error: psycopg.DatabaseError) -> bool:
        """Make a role, or the platform's part, that a statement speaks of and nobody has made."""
        if isinstance(error, psycopg.errors.UndefinedObject):
            missing = _NO_ROLE.search(str(error))
            if missing is not None:
                self._make_role(missing["name"])
            return missing is not None
        lacks = (psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedTable)
        return isinstance(error, lacks) and self._stand_in(str(error))

    def _by_who_may(self, statement: Statement) -> bool:
        """Have done what the loader may not, where that is right; gives whether it is done."""
        try:
            return self._for_a_superuser(statement) or self._by_a_superuser(statement)
        except psycopg.DatabaseError:
            return False

    def _for_a_superuser(self, statement: Statement) -> bool:
        """Leave alone what would be a superuser's: he is the server's own, and gets nothing."""
        given, schema = given_in(statement), schema_made_in(statement)
        role = given.owner if given else schema.owner if schema else role_spoken_of(statement)
        if role is None or not is_superuser(self._on_guard, role):
            return False
        if schema is not None:
            self._session.execute(schema.without_owner.encode(errors="surrogateescape"))
        return True

    def _by_a_superuser(self, statement: Statement) -> bool:
        given, role = given_in(statement), role_made_in(statement)
        if role is not None:
            make_role(self._on_guard, role)
        elif given is not None and may_be_given(self._on_guard, given):
            self._on_guard.execute(statement.text.encode(errors="surrogateescape"))
        else:
            return False
        return True

    def _make_role(self, name: str) -> None:
        make_role(self._on_guard, name)
        self.loaded.roles.append(name)

    def _stand_in(self, said: str) -> bool:
        """Make the platform's part of this database, where it is what the text lacks.

        A dump of the project's own schemas refers to accounts and to functions of auth's.
        """
        if self._database in self.loaded.stood_in or not _OF_THE_PLATFORM.search(said):
            return False
        self.loaded.stood_in.add(self._database)
        # As the loader, like all else here: what the file has made must not stand in our way as a
        # superuser. What it has made already is refused, and no news.
        mine, refused = self._connection, len(self.loaded.refused)
        self._connection = self._new_session(self._database)
        self.run(platform_text(), rest=False)
        self._connection.close()
        self._connection = mine
        del self.loaded.refused[refused:]
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
        self.loaded.refused.append(NotTaken(self._database, words, first_line(error)))


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


def counted(loaded: Loaded, loader: Loader) -> Mapping[tuple[str, str], int]:
    """(database, table as SQL names it) → rows that are there now, of every table loaded."""
    found: dict[tuple[str, str], int] = {}
    for database, name in loaded.databases.items():
        with loader.session(name) as connection:
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
