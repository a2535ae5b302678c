"""What a file that others made can do: nothing outside of the database that it is loaded into."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pymilk.database.dump_file import recognise
from pymilk.database.embedded import scratch
from pymilk.database.loader import LOADER, hand_over, make_loader
from pymilk.database.lookalike import DefaultPrivileges
from pymilk.database.programs import find_programs
from pymilk.database.services import platform_text
from pymilk.deploy.backup.file_test import FileTested, prove_file
from pymilk.deploy.backup.foreign_backup import backup_of_file
from pymilk.deploy.backup.restore_tables import wanted_tables
from pymilk.deploy.backup.restoring import restore_on_embedded
from pymilk.deploy.basis.plan import Bench

PROGRAMS = find_programs()

# The whole database of a shop, as far as it goes: what is hostile stands between it and the end.
DUMP = r"""--
-- PostgreSQL database dump
--
create table public.t (id integer);
COPY public.t (id) FROM stdin;
1
\.
{}
--
-- PostgreSQL database dump complete
--
"""

# Runs a program, and hides that it may not.
RUN = """
create function public.run() returns void language plpgsql as $$
begin
  copy (select 1) to program 'cat > {mark}';
exception when insufficient_privilege then
  null;
end;
$$;
"""
RUN_BY_TRIGGER = (
    RUN
    + """
create function public.run_by_trigger() returns trigger language plpgsql as $$
begin
  perform public.run();
  return new;
end;
$$;
"""
)
RUN_BY_EVENT = (
    RUN
    + """
create function public.run_by_event() returns event_trigger language plpgsql as $$
begin
  perform public.run();
end;
$$;
create event trigger hostile on ddl_command_end execute function public.run_by_event();
"""
)

HOSTILE = {
    "a program": "copy public.t from program 'touch {mark}; echo 7';",
    "a file": "copy public.t to '{mark}';",
    "a large object": "select lo_export(lo_from_bytea(0, 'x'), '{mark}');",
    "a block": "do $$ begin copy public.t to program 'cat > {mark}'; end; $$;",
    "the first user again": RUN + "reset role; reset session authorization; select public.run();"
    "set role supabase_admin; select public.run();"
    "set session authorization supabase_admin; select public.run();"
    "do $$ begin set session authorization default; perform public.run(); end; $$;"
    "do $$ begin set session authorization supabase_admin; perform public.run(); end; $$;",
    "a superuser of its own": RUN + "create role hostile_1 superuser login; set role hostile_1;"
    "select public.run(); reset role; do $$ begin create role hostile_2 superuser;"
    " set role hostile_2; perform public.run(); end; $$;"
    "alter role pymilk_loader superuser; select public.run();",
    "a right that is given": RUN + "grant pg_execute_server_program to pymilk_loader;"
    "grant supabase_admin to pymilk_loader; set role supabase_admin; select public.run();"
    "set role pg_execute_server_program; select public.run();"
    "create role hostile_3 in role pg_execute_server_program; set role hostile_3;"
    "select public.run();",
    "a function that a superuser is to own": RUN + "alter function public.run() security definer;"
    "alter function public.run() owner to supabase_admin; select public.run();",
    "an index of a table that a superuser is to own": RUN
    + "create function public.f(integer) returns integer language plpgsql immutable as"
    " $$ begin perform public.run(); return 1; end; $$;"
    "create table public.u (id integer);\nCOPY public.u (id) FROM stdin;\n1\n\\.\n"
    "alter table public.u owner to supabase_admin; create index on public.u (public.f(id));"
    "analyze public.u;",
    "an event trigger, when an extension is made": RUN_BY_EVENT
    + 'create schema hidden; create extension "uuid-ossp" with schema hidden;',
    "an event trigger, always": RUN_BY_EVENT + "alter event trigger hostile enable always;"
    "create role hostile_4; create schema hidden; create table hidden.x ();"
    "alter table hidden.x owner to hostile_4;",
    "an event trigger, at a login": RUN_BY_EVENT
    + "create event trigger hostile_login on login execute function public.run_by_event();"
    "alter event trigger hostile_login enable always;",
    "a function in place of Postgres's own": RUN
    + "create schema hostile; grant usage on schema hostile to public;"
    "create function hostile.set_config(text, text, boolean) returns text language plpgsql as"
    " $$ begin perform public.run(); return $2; end; $$;"
    "create function hostile.current_setting(text) returns text language plpgsql as"
    " $$ begin perform public.run(); return ''; end; $$;"
    "do $$ begin execute format("
    "'alter database %I set search_path = hostile, pg_catalog', current_database()); end; $$;"
    "create role hostile_5; create schema taken; create table taken.x ();"
    "alter table taken.x owner to hostile_5;",
    "a trigger in a superuser's extension": RUN_BY_TRIGGER
    + "alter default privileges for role supabase_admin grant all on tables to public;"
    "create schema vault; create extension supabase_vault with schema vault;"
    "create trigger hostile before insert on vault.secrets"
    " for each row execute function public.run_by_trigger();"
    "select vault.create_secret('x');",
    "what the platform's part does": RUN_BY_TRIGGER
    + "create schema auth; create table auth.users (id uuid primary key);"
    "create trigger hostile before insert on auth.users"
    " for each row execute function public.run_by_trigger();"
    "create table public.v (id uuid);\nCOPY public.v (id) FROM stdin;\n"
    "11111111-1111-1111-1111-111111111111\n\\.\n"
    "create policy p on storage.objects using (true);"
    "alter table public.v add foreign key (id) references auth.users;",
}

READING = {
    "pg_read_file": "create table public.read as select pg_read_file('PG_VERSION') as text;",
    "that function, once it is its own": "alter function pg_catalog.pg_read_file(text)"
    " owner to postgres; grant execute on function pg_catalog.pg_read_file(text) to public;"
    "create table public.read as select pg_read_file('PG_VERSION') as text;",
    "that function by another path": "create schema hostile;"
    "create function hostile.pg_read_file(text) returns text language sql as $$ select '' $$;"
    "create role hostile_6; set search_path = hostile, pg_catalog;"
    "alter function pg_read_file(text) owner to hostile_6;"
    "alter function pg_read_file(text) owner to postgres; set search_path = pg_catalog;"
    "grant execute on function pg_read_file(text) to public;"
    "create table public.read as select pg_read_file('PG_VERSION') as text;",
    "copy": "create table public.read (text text); copy public.read from '/etc/passwd';",
}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Bench]:
    with scratch(privileges=DefaultPrivileges.CLOSED) as server:
        yield Bench(server.url(), server.url(user="supabase_admin"), PROGRAMS.major, "embedded")


@pytest.fixture
def mark(elsewhere: Bench) -> Iterator[Path]:
    """A file that the server's own account could make, as is seen: nobody has made it."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # the server's account can reach it
    folder.chmod(0o777)
    with psycopg.connect(elsewhere.superuser_url) as superuser:
        superuser.execute(f"copy (select 1) to program 'cat > {folder}/seen'")
    assert (folder / "seen").exists()
    yield folder / "ran"
    shutil.rmtree(folder)


def hostile_file(folder: Path, text: str) -> Path:
    path = folder / "backup.sql"
    path.write_text(DUMP.format(text))
    return path


def loaded(path: Path, bench: Bench) -> FileTested:
    return prove_file(recognise(path), bench.superuser_url, PROGRAMS)


@pytest.mark.parametrize("how", HOSTILE)
def test_it_runs_no_program_and_writes_no_file(
    how: str, elsewhere: Bench, mark: Path, tmp_path: Path
) -> None:
    path = hostile_file(tmp_path, HOSTILE[how].replace("{mark}", str(mark)))
    with backup_of_file(recognise(path), elsewhere, PROGRAMS, tmp_path) as made:
        assert made.tested.tables["public.t"] == (1, 1)
    assert not mark.exists()
    assert superusers(elsewhere) == {"supabase_admin"}


@pytest.mark.parametrize("how", READING)
def test_it_reads_no_file(how: str, elsewhere: Bench, tmp_path: Path) -> None:
    result = loaded(hostile_file(tmp_path, READING[how]), elsewhere)
    assert result.tables.get("public.read", (0, 0)) == (0, 0)
    assert any("permission denied" in each.why for each in result.refused)


@pytest.mark.parametrize(
    "statement",
    [
        "alter system set archive_command = 'touch /tmp/x'",
        "create function public.c() returns void language c as '/tmp/x', 'c'",
        "load '/tmp/x.so'",
        "create subscription s connection 'host=elsewhere' publication p",
        "copy public.t to program 'cat'",
        "set session_preload_libraries = 'x'",
    ],
)
def test_what_reaches_outside_is_refused_and_told(
    statement: str, elsewhere: Bench, tmp_path: Path
) -> None:
    (refused,) = loaded(hostile_file(tmp_path, f"{statement};"), elsewhere).refused
    assert "permission denied" in refused.why or "is not allowed" in refused.why


@pytest.mark.parametrize(
    "kind",
    [
        "custom",
        *(pytest.param(each, marks=pytest.mark.long) for each in ("directory", "tar", "plain")),
    ],
)
def test_nor_does_an_archive(kind: str, elsewhere: Bench, mark: Path, tmp_path: Path) -> None:
    """A function of its own is called while its index is built."""
    with scratch() as server:
        source = server.url(user="supabase_admin")
        with psycopg.connect(source) as connection:
            connection.execute(RUN.replace("{mark}", str(mark)))
            connection.execute(
                "create function public.f(integer) returns integer language plpgsql immutable as"
                " $$ begin if current_database() like 'loaded%' then perform public.run(); end if;"
                " return 1; end; $$;"
                "create table public.t (id integer); insert into public.t values (1);"
                "create index on public.t (public.f(id));"
            )
        path = tmp_path / "dump"
        command = [str(PROGRAMS.path("pg_dump")), f"--dbname={source}", f"--file={path}"]
        subprocess.run([*command, f"--format={kind}"], check=True)
    result = loaded(path, elsewhere)
    assert result.tables["public.t"] == (1, 1)
    assert result.refused == ()
    assert not mark.exists()


CALLED_ON_THE_WAY = (
    RUN + "create function public.f(integer) returns integer language plpgsql immutable as"
    " $$ begin perform public.run(); return 1; end; $$;"
    "create table public.u (id integer check (public.f(id) = 1));\n"
    "COPY public.u (id) FROM stdin;\n1\n\\.\n"
    "create index on public.u (public.f(id));"
)


def test_nor_does_it_where_it_is_restored(elsewhere: Bench, mark: Path, tmp_path: Path) -> None:
    """Its functions are called wherever its rows are put: on a bench, on the embedded server."""
    text = CALLED_ON_THE_WAY.replace("{mark}", str(mark))
    with (
        backup_of_file(
            recognise(hostile_file(tmp_path, text)), elsewhere, PROGRAMS, tmp_path
        ) as made,
        scratch(privileges=DefaultPrivileges.CLOSED) as server,
    ):
        reborn = restore_on_embedded(made.folder, server, PROGRAMS)
        assert reborn.differences == ()
        bench = Bench(server.url(), server.url(user="supabase_admin"), PROGRAMS.major, "embedded")
        with wanted_tables(made.folder, ("u",), bench, PROGRAMS) as wanted:
            assert [table.qualified for table in wanted.tables] == ["public.u"]
            user = wanted.bench.info.user
    assert not mark.exists()
    assert user == "postgres"


def test_nothing_of_a_superusers_extension_runs_what_the_loader_hangs_on_it(
    elsewhere: Bench,
) -> None:
    """Functions of extensions that run as their owner write to tables: whose triggers fire then?"""
    loader = make_loader(elsewhere.superuser_url)
    name = loader.new_database()
    with loader.session(name) as session:
        for schema in ("extensions", "graphql", "vault", "auth", "storage", "pgsodium", "pgmq"):
            session.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        offered = session.execute("select name from pg_available_extensions order by 1").fetchall()
        for (extension,) in offered:
            session.execute(
                sql.SQL("create extension if not exists {} cascade").format(
                    sql.Identifier(extension)
                )
            )
        assert len(offered) > 15
        may = session.execute(
            "select p.oid::regprocedure::text, c.oid::regclass::text from pg_proc as p"
            " inner join pg_roles as r on p.proowner = r.oid and r.rolsuper and p.prosecdef"
            " inner join pg_class as c on c.relnamespace = p.pronamespace"
            " where c.relkind in ('r', 'p', 'v') and has_table_privilege(c.oid, 'trigger')"
        ).fetchall()
    assert may == []


def test_what_was_given_to_nobody_is_handed_over_in_whatever_order_it_is_noted(
    elsewhere: Bench,
) -> None:
    loader = make_loader(elsewhere.superuser_url)
    name = loader.new_database()
    with loader.session(name) as session:
        session.execute("create schema theirs")
        for schema in ("public", "theirs"):
            session.execute(f"create function {schema}.f() returns integer language sql return 1")
        with loader.guarded(name) as superuser:  # so they are noted after what is in them
            for owner in ("supabase_admin", "pymilk_loader"):
                superuser.execute(f"alter schema theirs owner to {owner}")
                superuser.execute(f"alter database {name} owner to {owner}")
        hand_over(session)
        owners = session.execute(
            "select distinct proowner::regrole::text from pg_proc where proname = 'f'"
        ).fetchall()
    assert owners == [("postgres",)]


def test_the_loader_leads_nowhere(elsewhere: Bench) -> None:
    loader = make_loader(elsewhere.superuser_url)
    with loader.session(loader.new_database()) as session:
        leads_to = session.execute(
            "select r.rolname from pg_roles as r where pg_has_role(%s::name, r.oid, 'member')"
            " and (r.rolsuper or r.rolname ~ '^pg_.*(server|subscription)')",
            (LOADER,),
        ).fetchall()
    assert leads_to == []
    assert superusers(elsewhere) == {"supabase_admin"}


def test_the_platforms_part_needs_no_superuser(elsewhere: Bench, tmp_path: Path) -> None:
    path = hostile_file(tmp_path, "create policy p on storage.objects using (true);")
    result = loaded(path, elsewhere)
    assert result.refused == ()
    assert {"auth.users", "storage.objects", "storage.buckets"} <= result.tables.keys()
    assert b"create schema if not exists auth" in platform_text()


def superusers(bench: Bench) -> set[str]:
    with psycopg.connect(bench.superuser_url) as connection:
        found = connection.execute("select rolname from pg_roles where rolsuper").fetchall()
    return {name for (name,) in found}
