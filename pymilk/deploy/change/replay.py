"""What migrations make of an empty Supabase project: replayed on a scratch server of our own."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count

import psycopg
from psycopg import sql

from pymilk.database.catalog import Catalog, read_catalog
from pymilk.database.cluster import SUPERUSER
from pymilk.database.connection import Connection, connect
from pymilk.database.embedded import EmbeddedServer
from pymilk.database.lookalike import DefaultPrivileges, make_supabase_shaped
from pymilk.database.services import stand_in_for_services
from pymilk.deploy.change.script import failure, run_script
from pymilk.problem import UsageProblem
from pymilk.project.migrations import (
    Script,
    refuse_rows_for_psql,
    refuse_what_cannot_be_one_transaction,
)

_numbers = count(1)


@contextmanager
def empty_project(server: EmbeddedServer, privileges: DefaultPrivileges) -> Iterator[Connection]:
    """A database like a new Supabase project's, open as its owner; dropped when the block ends.

    Args:
        server: Where it is made.
        privileges: Which default privileges it has.
    """
    database = f"replay_{next(_numbers)}"
    name = sql.Identifier(database)
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as session:
        session.execute(
            sql.SQL("create database {} template template0 owner postgres").format(name)
        )
        try:
            make_supabase_shaped(server.url(database, SUPERUSER), privileges=privileges)
            stand_in_for_services(server.url(database, SUPERUSER))
            with connect(server.url(database), purpose="replay") as connection:
                yield connection
        finally:
            session.execute(sql.SQL("drop database {} with (force)").format(name))


def replay(connection: Connection, scripts: Iterable[Script]) -> Catalog:
    """Run scripts one after the other; gives the schema that they make.

    Raises:
        ScriptFailed: A statement failed; says which.
    """
    for script in scripts:
        replay_one(connection, script)
    return read_catalog(connection)


def replay_one(connection: Connection, script: Script) -> None:
    """Run one script as the Supabase CLI does: in one transaction, unless it has its own.

    Raises:
        ScriptFailed: A statement failed; says which.
        UsageProblem: It has rows that only psql can send.
    """
    refuse_rows_for_psql(script)
    # What one file sets is not there for the next, which runs on a connection of its own.
    connection.execute("reset all")
    try:
        refuse_what_cannot_be_one_transaction(script)
    except UsageProblem:
        _run_as_written(connection, script)
        return
    with connection.transaction():
        run_script(connection, script)


def _run_as_written(connection: Connection, script: Script) -> None:
    for statement in script.statements:
        if statement.only_comment:
            continue
        try:
            connection.execute(statement.text.encode())
        except psycopg.Error as error:
            connection.rollback()
            raise failure(script, statement, error) from error
    connection.rollback()  # what it began and never committed
    connection.execute("reset role")


def likely_privileges(connection: Connection) -> tuple[DefaultPrivileges, DefaultPrivileges]:
    """Both variants of default privileges, first the one that a live project seems to have.

    They differ between projects, and a migration may have closed them since the first one ran.
    """
    row = connection.execute(
        "select exists (select from pg_default_acl as d, aclexplode(d.defaclacl) as x"
        " where d.defaclobjtype = 'r' and d.defaclrole = to_regrole(current_user::text)"
        " and x.grantee = to_regrole('anon'))"
    ).fetchone()
    if row and row[0]:
        return DefaultPrivileges.OPEN, DefaultPrivileges.CLOSED
    return DefaultPrivileges.CLOSED, DefaultPrivileges.OPEN
