"""A definition says the same before and after a dump."""

import pytest

from pymilk.database.catalog import read_catalog
from pymilk.database.connection import connect
from pymilk.database.wording import one_wording
from support.databases import Database


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("((((a OR b) OR c) OR d))", "((a OR b OR c OR d))"),
        ("((a AND b) AND (c AND d))", "(a AND b AND c AND d)"),
        ("((a OR b) AND c)", "((a OR b) AND c)"),
        ("((a AND b) OR (c OR d))", "((a AND b) OR c OR d)"),
        ("(NOT (a OR b) OR c)", "(NOT (a OR b) OR c)"),
        ("(f(a OR b) OR c)", "(f(a OR b) OR c)"),
        ("(x = (a OR b) OR c)", "(x = (a OR b) OR c)"),
        ("((a OR b)::text OR c)", "((a OR b)::text OR c)"),
        ("(CASE WHEN (a OR b) OR c THEN 1 END)", "(CASE WHEN (a OR b) OR c THEN 1 END)"),
        ("((x = '(a OR b) OR (c') OR d)", "((x = '(a OR b) OR (c') OR d)"),
        ("(a, (b OR c) OR d)", "(a, (b OR c) OR d)"),
        (")(", ")("),
    ],
)
def test_a_chain_has_no_parentheses_inside(said: str, same: str) -> None:
    assert one_wording(said) == same


@pytest.mark.parametrize("comparison", ["is distinct from", "<>", "="])
def test_rows_that_are_compared_are_the_same_after_a_dump(
    comparison: str, empty_database: Database
) -> None:
    """What Postgres writes is run again, as a restore does."""
    with connect(empty_database.url, purpose="test") as session:
        session.execute(
            "create table public.t (a int, b int, c int, check ((a, b, c) is distinct from"
            " (1, 2, 3))); create function public.f() returns trigger language plpgsql as"
            " $$ begin return new; end; $$; create trigger changed before update on public.t for"
            f" each row when ((new.a, new.b, new.c) {comparison} (old.a, old.b, old.c)"
            " or new.a = 1) execute function public.f(); create view public.v as select *"
            f" from public.t as t where (t.a, t.b, t.c) {comparison} (1, 2, 3) and t.a > 0"
        )
        before = read_catalog(session)
        trigger, view, check = session.execute(
            "select pg_get_triggerdef(t.oid), pg_get_viewdef('public.v'::regclass),"
            " (select pg_get_constraintdef(oid) from pg_constraint where contype = 'c' and"
            " conrelid = 'public.t'::regclass) from pg_trigger as t where t.tgname = 'changed'"
        ).fetchall()[0]
        session.execute(
            "drop view public.v; drop trigger changed on public.t; alter table public.t drop"
            f" constraint t_check; alter table public.t add constraint t_check {check};"
            f" {trigger}; create view public.v as {view}"
        )
        assert not before.difference(read_catalog(session))
