"""plpgsql_check, with every warning on, finds nothing but what is answered here.

Postgres binds the names in a function's body when it runs. This looks at each statement without
running it: missing columns, casts that can't be, variables that nothing reads, volatility.

Collected only where the server has the extension (tests/dairy/conftest.py).
"""

import re

import pytest
from psycopg import sql

from dairy.books import Books
from support.databases import Database

ANSWERED = {
    # The columns of check_payment_invariants() are the contract: invariant, …, expected, found.
    r'\S+: parameter "found" is shadowed; .*': "a column; none asks whether it found a row",
    r'\S+: target type is different type than source type; cast "bigint" value to "integer" type': (
        "a count or a position, assigned once a call and far below the integers' end"
    ),
    r"private\.payment_method_limits\(text\): target type .* cast \"integer\" .*": (
        "whole rupees written as such, compared with amounts"
    ),
    r'private\.audit_edit\(\) on (customers|payments): record "new" has no field "amount_paid"': (
        "asked of invoices alone, which have it; the trigger's argument says what it is"
    ),
    r"private\.restore_privileges\(text\): text type variable is not sanitized.*": (
        "a grant can't be parameterised; regprocedure, regclass and regrole write quoted names"
    ),
}
"""Findings, and why they stay. One that no longer comes up is to be removed here."""

FINDINGS = """
select
  checked.oid::regprocedure::text || coalesce(' on ' || trigger.relation::regclass, '')
    || ': ' || concat_ws('; ', found.message, found.detail)
from pg_proc as checked
left join lateral (
  -- a trigger function is checked as each table's, with the rows that its statement leaves
  select
    made.tgrelid as relation,
    max(made.tgoldtable::text) as old_rows,
    max(made.tgnewtable::text) as new_rows
  from pg_trigger as made
  where made.tgfoid = checked.oid and not made.tgisinternal
  group by made.tgrelid
) as trigger on true
cross join lateral {schema}.plpgsql_check_function_tb(
  checked.oid::regprocedure,
  coalesce(trigger.relation, 0)::regclass,
  fatal_errors => false,
  all_warnings => true,
  oldtable => trigger.old_rows::name,
  newtable => trigger.new_rows::name
) as found
where checked.pronamespace in ('public'::regnamespace, 'private'::regnamespace)
  and checked.prolang = (select lang.oid from pg_language as lang where lang.lanname = 'plpgsql')
order by 1
"""


@pytest.fixture
def findings(dairy_hardened: Database) -> list[str]:
    """What plpgsql_check says of every function, with every warning on."""
    superuser = Books(dairy_hardened.connect(user="supabase_admin", autocommit=True))
    superuser.run("create extension plpgsql_check schema extensions")
    rows = superuser.connection.execute(
        sql.SQL(FINDINGS).format(schema=sql.Identifier("extensions"))
    )
    return [finding for (finding,) in rows]


def test_every_finding_is_answered(findings: list[str]) -> None:
    assert [
        finding
        for finding in findings
        if not any(re.fullmatch(pattern, finding) for pattern in ANSWERED)
    ] == []


def test_every_answer_is_to_something_that_is_found(findings: list[str]) -> None:
    assert [
        pattern
        for pattern in ANSWERED
        if not any(re.fullmatch(pattern, finding) for finding in findings)
    ] == []


def test_it_would_find_a_column_that_is_not_there(dairy_hardened: Database) -> None:
    superuser = Books(dairy_hardened.connect(user="supabase_admin", autocommit=True))
    superuser.run("create extension plpgsql_check schema extensions")
    superuser.run(
        "create function public.late() returns trigger language plpgsql as"
        " 'begin update public.payments set no_such_column = 1; return null; end'"
    )
    superuser.run(
        "create trigger late after insert on public.routes"
        " referencing new table as new_rows for each statement execute function public.late()"
    )
    found = superuser.connection.execute(
        sql.SQL(FINDINGS).format(schema=sql.Identifier("extensions"))
    ).fetchall()
    assert [text for (text,) in found if text.startswith("late() on routes: column")] != []
