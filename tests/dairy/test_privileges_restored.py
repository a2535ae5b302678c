"""Whatever was granted before harden_access is granted again after its rollback, exactly."""

import psycopg
import pytest

from dairy.books import Books
from dairy.scripts import dump
from support.databases import MIGRATIONS, ROOT, Database, Templates, after_the_gaps

STEM = "20250927000000_harden_access"

FOUND = {
    "nothing_said": "",
    "granted_to_everybody": (
        "grant select, update on public.payments to public;"
        " grant execute on function public.get_next_invoice_sequence(text) to public"
    ),
    "with_grant_option": (
        "grant insert, references on public.sales to authenticated with grant option;"
        " grant select on public.sales to service_role with grant option;"
        " grant execute on function public.update_invoice_status(uuid) to anon with grant option"
    ),
    "on_columns": (
        "revoke all on public.customers from anon, authenticated;"
        " grant select (billing_name, status), update (status) on public.customers"
        " to authenticated;"
        " grant select (id) on public.customers to anon, public;"
        " grant update (billing_name) on public.customers to service_role with grant option"
    ),
    "on_columns_and_the_table": (
        "grant select on public.products to anon; grant select (name) on public.products to anon"
    ),
    "to_nobody": (
        "revoke all on public.routes from public, anon, authenticated, service_role;"
        " revoke all on function public.update_invoice_status(uuid)"
        " from public, anon, authenticated, service_role"
    ),
    "to_another_role": "grant select, delete on public.routes to dashboard_user",
    "the_owner_has_less": "revoke truncate, trigger on public.routes from postgres",
    "defaults_for_one": (
        "alter default privileges in schema public revoke all on tables"
        " from anon, authenticated, service_role;"
        " alter default privileges in schema public grant select on tables to anon"
    ),
    "defaults_that_name_the_owner": (
        "alter default privileges in schema public grant all on tables to postgres;"
        " alter default privileges in schema public grant usage on sequences to authenticated"
        " with grant option;"
        " alter default privileges in schema public grant execute on functions to public"
    ),
    "defaults_closed_already": (
        "alter default privileges in schema public revoke all on functions"
        " from anon, authenticated, service_role;"
        " alter default privileges revoke execute on functions from public"
    ),
    "defaults_of_all_schemas": (
        "alter default privileges grant execute on functions to service_role;"
        " alter default privileges grant select on tables to authenticated"
    ),
}


def privileges(books: Books) -> list[tuple[object, ...]]:
    """What the roles of the API, and everybody, may do in public, and with what is made later."""
    return books.rows(
        "select held.grantee::regrole, of.name, held.privilege_type, held.is_grantable from ("
        " select relname as name, relacl as acl from pg_class"
        " where relnamespace = 'public'::regnamespace"
        " union all select attrelid::regclass || '.' || attname, attacl from pg_attribute"
        " union all select oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner))"
        " from pg_proc where pronamespace = 'public'::regnamespace"
        " union all select 'later, in schema ' || defaclnamespace || defaclobjtype::text,"
        " defaclacl from pg_default_acl where defaclrole = 'postgres'::regrole"
        ") as of cross join lateral aclexplode(nullif(of.acl, '{}')) as held"
        " where held.grantee = any('{0, anon, authenticated, service_role}'::regrole[])"
        " order by held.grantee, of.name, held.privilege_type"
    )


@pytest.mark.parametrize("found", FOUND.values(), ids=FOUND)
def test_it_goes_without_a_trace(dairy_010: Database, found: str) -> None:
    owner = dairy_010.connect(autocommit=True)
    owner.execute(found.encode())
    before = dump(dairy_010.superuser_url)
    owner.execute((MIGRATIONS / f"{STEM}.sql").read_bytes())
    assert dump(dairy_010.superuser_url) != before
    owner.execute((ROOT / "supabase" / "rollbacks" / f"{STEM}.sql").read_bytes())
    assert dump(dairy_010.superuser_url) == before
    # Nothing is left remembered that a second deploy would stumble over.
    owner.execute((MIGRATIONS / f"{STEM}.sql").read_bytes())


@pytest.mark.parametrize("found", FOUND.values(), ids=FOUND)
def test_what_was_granted_before_makes_no_difference_after(
    dairy_010: Database, templates: Templates, found: str
) -> None:
    owner = dairy_010.connect(autocommit=True)
    owner.execute(found.encode())
    for path in after_the_gaps():
        owner.execute(path.read_bytes())
    with templates.clone("dairy_hardened") as usual:
        assert privileges(Books(owner)) == privileges(Books(usual.connect()))


def test_what_somebody_else_has_granted_is_refused_since_it_could_not_be_restored(
    dairy_010: Database,
) -> None:
    owner = dairy_010.connect(autocommit=True)
    owner.execute("grant select on public.routes to authenticated with grant option")
    clerk = dairy_010.connect(role="authenticated", autocommit=True)
    clerk.execute("grant select on public.routes to dashboard_user")
    with pytest.raises(psycopg.DatabaseError, match=r"public\.routes were granted by another role"):
        owner.execute((MIGRATIONS / f"{STEM}.sql").read_bytes())


def test_an_object_that_is_gone_meanwhile_is_left_alone(dairy_010: Database) -> None:
    owner = dairy_010.connect(autocommit=True)
    owner.execute("create table public.passing (id integer)")
    owner.execute(
        "select private.remember_privileges('x', '{}', array['public.passing']::regclass[])"
    )
    owner.execute("drop table public.passing")
    owner.execute("select private.restore_privileges('x')")
    assert (
        Books(owner).value("select count(*) from private.privileges_before where migration = 'x'")
        == 0
    )


def test_a_function_made_anew_meanwhile_is_granted_to_whom_the_old_one_was(
    dairy_010: Database,
) -> None:
    books = Books(dairy_010.connect(autocommit=True))
    make = "create function public.passing() returns integer language sql return 1"
    books.run(make)
    books.run("revoke all on function public.passing() from public, authenticated, service_role")
    before = dump(dairy_010.superuser_url, "--schema-only")
    books.run("select private.remember_privileges('x', array['public.passing()']::regprocedure[])")
    books.run("drop function public.passing()")
    # Made where nothing is said of functions, it has no list: everybody may call it.
    with books.connection.transaction():
        books.run("create schema elsewhere")
        books.run(make.replace("public.", "elsewhere."))
        books.run("alter function elsewhere.passing() set schema public")
        books.run("drop schema elsewhere")
    assert books.value("select proacl from pg_proc where proname = 'passing'") is None
    books.run("select private.restore_privileges('x')")
    assert dump(dairy_010.superuser_url, "--schema-only") == before


def test_names_that_need_quoting_are_quoted(dairy_010: Database) -> None:
    books = Books(dairy_010.connect(autocommit=True))
    books.run('create table public."Odd; name" ("a ""column""" integer, other integer)')
    books.run('grant select ("a ""column""") on public."Odd; name" to anon')
    books.run('revoke all on public."Odd; name" from authenticated')
    before = dump(dairy_010.superuser_url, "--schema-only")
    books.run(
        "select private.remember_privileges('x', '{}', array['public.\"Odd; name\"']::regclass[])"
    )
    books.run('revoke all on public."Odd; name" from anon, service_role')
    books.run("select private.restore_privileges('x')")
    assert dump(dairy_010.superuser_url, "--schema-only") == before
