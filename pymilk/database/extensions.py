"""Extensions: which a database has, and what stands in for one that a copy's server lacks.

A stand-in is an extension in Postgres's own format (a control file and SQL), made of plain SQL, so
that `create extension` in anybody's file finds it. It says of itself that it is one, in its control
file: that is how it is told from a real one.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import psycopg
from psycopg import sql

from pymilk.database.connection import Connection, first_line

_FOLDER = files("pymilk.database").joinpath("stand_ins/extensions")
_MARK = "Stand-in of pymilk: "


@dataclass(frozen=True, order=True)
class Extension:
    """An extension that a database has.

    Attributes:
        name: Its name.
        schema: The schema that it was made in.
    """

    name: str
    schema: str


@dataclass(frozen=True)
class Supply:
    """How a server supplies extensions that another database has.

    Attributes:
        real: Those that it has itself.
        stood_in: Name → what its stand-in is, and is not.
        lacking: Those that it has neither way.
    """

    real: tuple[str, ...]
    stood_in: dict[str, str]
    lacking: tuple[str, ...]


def offered_files(installed: Path) -> dict[str, bytes]:
    """What a server of ours offers, by file name: its installation's extensions, then stand-ins.

    Whoever owns the database may make any of them, as `postgres` may on a hosted project. Where an
    installation keeps that to superusers, its control file says otherwise here.

    Args:
        installed: The folder with the installation's control files.
    """
    real = {control.name: _trusted(control) for control in sorted(installed.glob("*.control"))}
    return {**stand_ins_beside({name.removesuffix(".control") for name in real}), **real}


def stand_ins_beside(real: Container[str]) -> dict[str, bytes]:
    """The stand-ins of all extensions that a server doesn't have itself, by file name.

    Args:
        real: The names of those that it has.
    """
    return {
        entry.name: entry.read_bytes()
        for entry in _FOLDER.iterdir()
        if entry.name.removesuffix(".control").partition("--")[0] not in real
    }


def _trusted(control: Path) -> bytes:
    own = control.read_text(encoding="utf-8").rstrip()
    return f"{own}\ntrusted = true\ndirectory = '{control.parent}'\n".encode()


def read_extensions(connection: Connection) -> tuple[Extension, ...]:
    """The extensions of a database, plpgsql aside, which every Postgres has."""
    rows = connection.execute(
        "select e.extname, n.nspname from pg_catalog.pg_extension as e"
        " inner join pg_catalog.pg_namespace as n on e.extnamespace = n.oid"
        " where e.extname <> 'plpgsql' order by 1"
    ).fetchall()
    return tuple(Extension(name, schema) for name, schema in rows)


def supply_of(connection: Connection, names: Iterable[str]) -> Supply:
    """How the server that we are connected to supplies these extensions."""
    rows = connection.execute(
        "select distinct name, coalesce(comment, '') from pg_catalog.pg_available_extensions"
    ).fetchall()
    there: dict[str, str] = dict(rows)
    asked = sorted(set(names))
    return Supply(
        real=tuple(n for n in asked if n in there and not there[n].startswith(_MARK)),
        stood_in={
            name: there[name].removeprefix(_MARK)
            for name in asked
            if there.get(name, "").startswith(_MARK)
        },
        lacking=tuple(name for name in asked if name not in there),
    )


def make_extensions(
    connection: Connection, extensions: Iterable[Extension], later: Iterable[Extension] = ()
) -> Supply:
    """Make a copy's extensions those of the database that it is a copy of, where they can be had.

    Those that the copy has beyond them (a fresh project's own) go, and one in another schema moves
    by being made anew: a name that resolves here must resolve there.

    Args:
        connection: To the copy, which holds nothing of the project's yet, as a superuser.
        extensions: What the other database has.
        later: Those of them that are made once their schema is there.

    Returns:
        How they are supplied; those that are lacking were not made.

    Raises:
        psycopg.Error: one of them can't be made.
    """
    wanted = {extension.name: extension for extension in extensions}
    supply = supply_of(connection, wanted)
    present = set(read_extensions(connection))
    for extension in sorted(present - set(wanted.values())):
        # What another one needs goes with it, and comes back below.
        connection.execute(
            sql.SQL("drop extension if exists {} cascade").format(sql.Identifier(extension.name))
        )
    waiting = {extension.name for extension in later}
    for name in (*supply.real, *supply.stood_in):
        if name not in waiting:
            make_extension(connection, wanted[name])
    return supply


def make_each(connection: Connection, extensions: Iterable[Extension]) -> None:
    """Make some that the server is known to have.

    Raises:
        psycopg.Error: one of them can't be made.
    """
    for extension in extensions:
        make_extension(connection, extension)


def make_extension(connection: Connection, extension: Extension) -> None:
    """Make one, as `postgres` where it may: it owns it then and can drop it, as on hosted projects.

    Args:
        connection: As the superuser.
        extension: The server must have it, real or stood in.

    Raises:
        psycopg.Error: it can't be made.
    """
    trusted = connection.execute(
        "select bool_or(trusted) from pg_catalog.pg_available_extension_versions where name = %s",
        (extension.name,),
    ).fetchone()
    with connection.transaction():
        connection.execute(
            sql.SQL("create schema if not exists {}").format(sql.Identifier(extension.schema))
        )
        if trusted and trusted[0]:
            connection.execute("set local role postgres")
        connection.execute(
            sql.SQL("create extension if not exists {} with schema {} cascade").format(
                sql.Identifier(extension.name), sql.Identifier(extension.schema)
            )
        )
        connection.execute("reset role")


@dataclass
class Added:
    """What is made in a database of somebody's, for a backup to be restored into it.

    Attributes:
        undo: What takes it away again.
        lacking: The extensions that aren't there as the backup has them, each with the reason.
    """

    undo: list[sql.Composed] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)

    def add(self, connection: Connection, extensions: Iterable[Extension]) -> None:
        """Make the extensions that the database doesn't have yet, as the role that we are.

        Nothing that is there is moved or dropped: it is somebody's. What can't be made is told, not
        refused: whether anything needs it, only the restore can tell.

        Args:
            connection: To the database, outside of a transaction.
            extensions: What the backed up database had.
        """
        there = {extension.name: extension for extension in read_extensions(connection)}
        for extension in extensions:
            found = there.get(extension.name)
            if found is None:
                self._make(connection, extension)
                there |= {added.name: added for added in read_extensions(connection)}
            elif found != extension:
                self.lacking.append(
                    f"{extension.name} is in schema {found.schema} here,"
                    f" in the backup in {extension.schema}"
                )

    def take_away(self, connection: Connection) -> None:
        """Leave the database as it was found."""
        for statement in self.undo:
            connection.execute(statement)

    def _make(self, connection: Connection, extension: Extension) -> None:
        name, schema = sql.Identifier(extension.name), sql.Identifier(extension.schema)
        new_schema = not _has_schema(connection, extension.schema)
        try:
            with connection.transaction():
                connection.execute(sql.SQL("create schema if not exists {}").format(schema))
                connection.execute(
                    sql.SQL("create extension {} with schema {} cascade").format(name, schema)
                )
        except psycopg.DatabaseError as error:
            self.lacking.append(f"{extension.name}: {first_line(error)}")
            return
        self.undo.append(sql.SQL("drop extension if exists {} cascade").format(name))
        if new_schema:
            self.undo.append(sql.SQL("drop schema if exists {}").format(schema))


def _has_schema(connection: Connection, name: str) -> bool:
    row = connection.execute("select to_regnamespace(quote_ident(%s)) is not null", (name,))
    return bool((row.fetchone() or (False,))[0])
