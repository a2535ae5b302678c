"""A project whose defaults grant everything to everybody, in every schema: ours stay closed."""

from collections.abc import Iterator, Sequence

import psycopg
import pytest
from psycopg import sql

from dairy.scripts import run_file
from support.databases import MIGRATIONS, Connection, Database, Templates

ROLES = ("anon", "authenticated", "service_role")
KINDS = ("tables", "sequences", "functions")

OPEN = {
    "tables": """
        select r.role, c.oid::regclass::text from pg_class as c
        cross join unnest(%s::text[]) as r (role)
        where c.relkind = 'r' and c.relnamespace = 'private'::regnamespace
          and has_table_privilege(r.role, c.oid, 'select, insert, update, delete, truncate')
    """,
    "sequences": """
        select r.role, c.oid::regclass::text from pg_class as c
        cross join unnest(%s::text[]) as r (role)
        where c.relkind = 'S'
          and (
            c.relnamespace = 'private'::regnamespace
            or c.oid = pg_get_serial_sequence('public.audit_trail', 'id')::regclass
          )
          and has_sequence_privilege(r.role, c.oid, 'usage, select, update')
    """,
    "functions": """
        select r.role, p.oid::regprocedure::text from pg_proc as p
        cross join unnest(%s::text[]) as r (role)
        where p.pronamespace = 'private'::regnamespace
          and has_function_privilege(r.role, p.oid, 'execute')
          -- tells nothing; asked in WHEN clauses as whoever writes
          and p.proname <> 'outside_our_triggers'
    """,
}
"""What a role reaches of what the database keeps for itself."""

READ_ALONE = ("audit_trail", "invoice_counters", "invoice_sales_mapping", "bulk_operation_logs")


@pytest.fixture(scope="module")
def generously(templates: Templates) -> Iterator[Database]:
    """All migrations, one after the other, where everything new is granted to everybody."""
    with templates.clone("baseline") as database:
        connection = database.connect(autocommit=True)
        for kind in KINDS:
            connection.execute(
                sql.SQL("alter default privileges grant all on {} to {}").format(
                    sql.SQL(kind), sql.SQL(", ").join(map(sql.Identifier, ROLES))
                )
            )
        for path in sorted(MIGRATIONS.glob("*_gap_*.sql")):
            run_file(database.url, path)
        yield database


@pytest.fixture
def generous(generously: Database) -> Iterator[Connection]:
    """A session there, for a test that changes nothing."""
    with generously.lent() as database:
        yield database.connect()


def reached(connection: Connection, kind: str) -> Sequence[tuple[object, ...]]:
    return connection.execute(OPEN[kind].encode(), (list(ROLES),)).fetchall()


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_database_keeps_for_itself_is_closed(generous: Connection, kind: str) -> None:
    assert reached(generous, kind) == []


def test_the_books_that_staff_may_read_nobody_writes(generous: Connection) -> None:
    written = generous.execute(
        "select t.name, r.role from unnest(%s::text[]) as t (name)"
        " cross join unnest(%s::text[]) as r (role)"
        " where"
        " has_table_privilege(r.role, 'public.' || t.name, 'insert, update, delete, truncate')"
        " or r.role = 'anon' and has_table_privilege(r.role, 'public.' || t.name, 'select')",
        (list(READ_ALONE), list(ROLES)),
    ).fetchall()
    assert written == []


def test_the_functions_of_the_gaps_are_not_anons(generous: Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        generous.execute("set role anon; select * from public.check_payment_invariants()")
