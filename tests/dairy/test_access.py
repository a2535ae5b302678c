"""Who may do what: role by function and table, after each migration, whatever a project grants."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

import psycopg
import pytest

from dairy.books import Books
from dairy.scripts import run_file
from pymilk.project.migrations import Migration, load_migrations
from support.databases import ROOT, Database

ROLES = ("anon", "authenticated", "service_role")

FUNCTIONS = """
since   function                                                 anon  authenticated  service_role
001     allocate_payment_atomic(uuid,jsonb,boolean)              -     execute        execute
001     business_today()                                         -     execute        execute
001     check_payment_invariants()                               -     execute        execute
001     request_outcome(text)                                    -     execute        execute
002     rollback_partial_allocation(uuid)                        -     execute        execute
002     unallocate_payment(uuid,uuid[],text)                     -     execute        execute
002     update_invoice_status(uuid)                              -     execute        execute
002     update_invoice_status_with_sales_completion(uuid)        -     execute        execute
002     void_payment(uuid,text)                                  -     execute        execute
003     update_payment_atomic(uuid,numeric,jsonb,text)           -     execute        execute
004     fix_unapplied_payments_inconsistencies(boolean)          -     -              execute
004     reconcile_unapplied_payments()                           -     execute        execute
005     allocate_opening_balance_atomic(uuid,uuid,numeric)       -     execute        execute
005     allocate_payment_to_sales_atomic(uuid,jsonb)             -     execute        execute
005     auto_allocate_payment(uuid,text)                         -     execute        execute
005     record_payment_atomic(jsonb)                             -     execute        execute
006     delete_invoice_and_revert_sales(uuid)                    -     execute        execute
006     delete_invoice_safe(uuid,boolean)                        -     execute        execute
006     recover_invoice(uuid)                                    -     execute        execute
007     delete_bulk_invoices_safe(uuid[],boolean)                -     -              execute
007     generate_bulk_invoices_atomic(date,date,uuid[],boolean)  -     execute        execute
007     log_bulk_operation(text,jsonb)                           -     execute        execute
007     preview_bulk_invoices(date,date,uuid[])                  -     execute        execute
007     update_bulk_operation_status(uuid,text,jsonb,text)       -     execute        execute
008     calculate_customer_outstanding(uuid)                     -     execute        execute
008     outstanding_breakdown(uuid,date)                         -     execute        execute
008     validate_outstanding(uuid)                               -     execute        execute
009     normalize_payment_method(text)                           -     execute        execute
010     generate_invoice_atomic(uuid,date,date)                  -     execute        execute
010     get_next_invoice_sequence(text)                          -     execute        execute
010     next_invoice_number(text)                                -     execute        execute
report  report_failed_allocation(text,text,uuid,text,jsonb)      -     execute        execute
"""
"""Until the migration of the first column, a function is what the project had granted."""

TABLES = """
since   table                     anon  authenticated                service_role
006     audit_trail                  -  select                       select
006     invoice_sales_mapping        -  select                       select
007     bulk_operation_logs          -  select                       select
010     invoice_counters             -  select                       select
harden  base_subscriptions           -  select,insert,update,delete  select,insert,update,delete
harden  customers                    -  select,insert,update,delete  select,insert,update,delete
harden  daily_orders                 -  select,insert,update,delete  select,insert,update,delete
harden  deliveries                   -  select,insert,update,delete  select,insert,update,delete
harden  invoice_line_items           -  select,insert,update,delete  select,insert,update,delete
harden  invoice_metadata             -  select,insert,update,delete  select,insert,update,delete
harden  invoice_payments             -  select,insert,update,delete  select,insert,update,delete
harden  modifications                -  select,insert,update,delete  select,insert,update,delete
harden  opening_balance_payments     -  select,insert,update,delete  select,insert,update,delete
harden  payments                     -  select,insert,update,delete  select,insert,update,delete
harden  product_pricing_history      -  select,insert,update,delete  select,insert,update,delete
harden  products                     -  select,insert,update,delete  select,insert,update,delete
harden  routes                       -  select,insert,update,delete  select,insert,update,delete
harden  sales                        -  select,insert,update,delete  select,insert,update,delete
harden  sales_payments               -  select,insert,update,delete  select,insert,update,delete
harden  unapplied_payments           -  select,insert,update,delete  select,insert,update,delete
report  failed_allocations           -  select                       select
"""
"""unapplied_payments is kept by triggers: the app writes it, what stands there is their word."""


class Access(NamedTuple):
    """What a role may do with a function or table of schema public."""

    name: str
    role: str
    privilege: str


class Rule(NamedTuple):
    """A line of the tables above."""

    since: str
    granted: frozenset[Access]


def rules(text: str) -> dict[str, Rule]:
    """The lines, by the name of the function or table."""
    found = {}
    for line in text.strip().splitlines()[1:]:
        since, name, *cells = line.split()
        found[name] = Rule(
            since,
            frozenset(
                Access(name, role, privilege)
                for role, cell in zip(ROLES, cells, strict=True)
                if cell != "-"
                for privilege in cell.split(",")
            ),
        )
    return found


RULES = {"function": rules(FUNCTIONS), "table": rules(TABLES)}

GRANTED = {
    "function": (
        "select oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)) as acl,"
        " proowner as owner from pg_proc where pronamespace = 'public'::regnamespace"
    ),
    "table": (
        "select relname, coalesce(relacl, acldefault('r', relowner)), relowner from pg_class"
        " where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm')"
    ),
}
"""Name, privileges and owner of everything in public."""


def names(books: Books, kind: str) -> set[str]:
    return {name for (name, *_) in books.rows(GRANTED[kind])}


def granted(books: Books, kind: str) -> frozenset[Access]:
    """What is granted, as Postgres keeps it: to everybody means to each of the three roles."""
    rows = books.rows(
        f"select made.oid, role.name, lower(held.privilege_type) from ({GRANTED[kind]})"
        " as made (oid, acl, owner)"
        " cross join lateral aclexplode(made.acl) as held"
        " inner join unnest(%s::text[]) as role (name)"
        " on held.grantee in (0, role.name::regrole) and held.grantee <> made.owner",
        list(ROLES),
    )
    return frozenset(Access(*row) for row in rows)


MIGRATIONS = load_migrations(ROOT / "supabase")
NO_GAPS = {"harden_access": "harden", "failed_allocations": "report"}
SINCE = {
    migration.gap or NO_GAPS.get(migration.name, ""): number
    for number, migration in enumerate(MIGRATIONS)
}
"""What the first columns above call a migration → where it stands in the order."""


def in_force(rule: Rule, migration: Migration) -> bool:
    """Whether the rule's migration is this one or came before it."""
    return SINCE[rule.since] <= MIGRATIONS.index(migration)


@pytest.mark.parametrize("kind", RULES)
def test_after_each_migration_the_matrix_holds(either_privileges: Database, kind: str) -> None:
    books = Books(either_privileges.connect(autocommit=True))
    before: frozenset[Access] = frozenset()
    for migration in MIGRATIONS:
        run_file(either_privileges.url, ROOT / "supabase" / "migrations" / f"{migration.stem}.sql")
        found = granted(books, kind)
        before = before or found
        decided = {name for name, rule in RULES[kind].items() if in_force(rule, migration)}
        expected = frozenset().union(*(RULES[kind][name].granted for name in decided))
        untouched = frozenset(each for each in before if each.name not in decided)
        assert found == expected | untouched, migration.stem
    assert names(books, kind) == RULES[kind].keys()
    assert untouched == frozenset()


def test_what_the_database_keeps_for_itself_is_nobodys_after_each_migration(
    either_privileges: Database,
) -> None:
    books = Books(either_privileges.connect(autocommit=True))
    for migration in MIGRATIONS:
        run_file(either_privileges.url, ROOT / "supabase" / "migrations" / f"{migration.stem}.sql")
        found = books.rows(
            "with kept as ("
            " select nspname::text as name, nspacl as acl, nspowner as owner from pg_namespace"
            " where nspname = 'private'"
            " union all select oid::regclass::text, coalesce(relacl, acldefault('r', relowner)),"
            " relowner from pg_class"
            " where relnamespace = to_regnamespace('private') and relkind <> 'i'"
            " union all select oid::regprocedure::text,"
            " coalesce(proacl, acldefault('f', proowner)), proowner from pg_proc"
            " where pronamespace = to_regnamespace('private')"
            " union all select oid::regclass::text, relacl, relowner from pg_class where"
            " relkind = 'S' and relnamespace = 'public'::regnamespace"
            ") select name, held.* from kept cross join lateral aclexplode(acl) as held"
            " where held.grantee <> owner"
            # tells nothing; asked in WHEN clauses as whoever writes
            " and (name, held.privilege_type, held.grantee)"
            " <> ('private.outside_our_triggers()', 'EXECUTE', 0)"
        )
        assert found == [], migration.stem
        unguarded = books.rows(
            "select oid::regclass::text from pg_class where not relrowsecurity"
            " and relkind = 'r' and relnamespace = to_regnamespace('private')"
        )
        assert unguarded == [], migration.stem


def test_row_security_is_on_for_every_table_that_a_gap_makes_and_at_the_end_for_all(
    either_privileges: Database,
) -> None:
    books = Books(either_privileges.connect(autocommit=True))
    for migration in MIGRATIONS:
        run_file(either_privileges.url, ROOT / "supabase" / "migrations" / f"{migration.stem}.sql")
        off = {
            name
            for (name,) in books.rows(
                "select relname from pg_class where relnamespace = 'public'::regnamespace"
                " and relkind in ('r', 'p') and not relrowsecurity"
            )
        }
        was_off = {"invoice_line_items", "invoice_payments", "unapplied_payments"}
        hardened = MIGRATIONS.index(migration) >= SINCE["harden"]
        assert off == (set() if hardened else was_off), migration.stem


def test_after_harden_access_both_variants_are_the_same(either_privileges: Database) -> None:
    books = Books(either_privileges.connect(autocommit=True))
    for migration in MIGRATIONS:
        run_file(either_privileges.url, ROOT / "supabase" / "migrations" / f"{migration.stem}.sql")
    books.run("create table public.made_later (id bigint generated always as identity)")
    books.run("create function public.made_later() returns int language sql as 'select 1'")
    later = granted(books, "table") | granted(books, "function")
    assert {each for each in later if each.name.startswith("made_later")} == set()
    assert not books.value("select has_sequence_privilege('anon', 'made_later_id_seq', 'usage')")


# The catalog says so; now each role tries.


@pytest.fixture(params=ROLES)
def somebody(dairy_hardened: Database, request: pytest.FixtureRequest) -> tuple[str, Books]:
    """A session of each role, on a dairy with everything that we have."""
    return request.param, Books(dairy_hardened.connect(role=request.param))


def allowed(books: Books, statement: str) -> bool:
    """Whether the role gets as far as the statement itself; undone, whatever it does."""
    try:
        books.run(statement)
    except psycopg.errors.InsufficientPrivilege:
        return False
    except psycopg.DatabaseError:
        return True
    else:
        return True
    finally:
        books.connection.rollback()


TRIED: Mapping[str, str] = {
    "select": "select from public.{} limit 1",
    "insert": "insert into public.{} default values",
    "update": "update public.{} set {} = null where false",
    "delete": "delete from public.{} where false",
    "truncate": "truncate public.{} cascade",
    "trigger": (
        "create trigger mine before insert on public.{} for each row"
        " execute function suppress_redundant_updates_trigger()"
    ),
}


def tries(books: Books) -> Iterator[tuple[str, str, str]]:
    """Table, privilege and the statement that needs it."""
    # The second column: the first may be generated, which is refused before privileges are.
    columns = books.rows(
        "select relname, attname from pg_attribute join pg_class on pg_class.oid = attrelid"
        " where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and attnum = 2"
    )
    for table, column in columns:
        for privilege, statement in TRIED.items():
            yield table, privilege, statement.format(table, column)


def test_each_role_gets_as_far_with_each_table_as_the_matrix_says(
    somebody: tuple[str, Books],
) -> None:
    role, books = somebody
    found = {
        Access(table, role, privilege)
        for table, privilege, statement in tries(books)
        if allowed(books, statement)
    }
    assert found == {
        each for rule in RULES["table"].values() for each in rule.granted if each.role == role
    }


def test_each_role_gets_as_far_with_each_function_as_the_matrix_says(
    somebody: tuple[str, Books],
) -> None:
    role, books = somebody
    found = set()
    for function in RULES["function"]:
        name, _, types = function.rstrip(")").partition("(")
        arguments = ", ".join(f"null::{each}" for each in types.split(",") if each)
        if allowed(books, f"select public.{name}({arguments})"):
            found.add(function)
    assert found == {
        name
        for name, rule in RULES["function"].items()
        if Access(name, role, "execute") in rule.granted
    }


def test_no_function_of_the_api_is_overloaded(dairy_hardened: Database) -> None:
    listed = sorted(name.partition("(")[0] for name in RULES["function"])
    assert [name for name, many in groupby(listed) if len(list(many)) > 1] == []
    assert names(Books(dairy_hardened.connect()), "function") == RULES["function"].keys()
