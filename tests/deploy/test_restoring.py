"""A backup becomes a database again: equal to what it was, as closed as it was, or not at all."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from pymilk.database.catalog import read_catalog
from pymilk.database.connection import Target, connect
from pymilk.database.dump import take_backup
from pymilk.database.embedded import EmbeddedServer, scratch
from pymilk.database.extensions import Extension
from pymilk.database.ledger import Kind, read_entries
from pymilk.database.manifest import Backup, seal
from pymilk.database.platform import Platform
from pymilk.database.programs import find_programs
from pymilk.deploy.backup.restoring import restore_at, restore_on_embedded
from pymilk.problem import Problem, UsageProblem
from pymilk.project.policy import Preset
from support.databases import Database, Templates

PROGRAMS = find_programs()


@pytest.fixture
def backup(shop: Database, tmp_path: Path) -> Backup:
    """The shop, where staff may read the bills and nobody else anything; postgres owns it all."""
    shop.connect(autocommit=True).execute(
        "revoke all on all tables in schema public from anon, authenticated, service_role;"
        "grant select on public.bills to authenticated;"
        "alter default privileges in schema public revoke all on tables from anon"
    )
    return take_backup(shop.url, PROGRAMS, tmp_path / "one")


@pytest.fixture
def new(templates: Templates) -> Iterator[Database]:
    """A new project: empty, and as open by default as many are."""
    with templates.clone("empty") as database:
        yield database


def live(database: Database) -> Target:
    return Target(database.url, Preset.LIVE)


def clear(database: Database, backup: Backup) -> None:
    """Everything that a restore has made, gone."""
    connection = database.connect(autocommit=True)
    for schema in backup.schemas:
        connection.execute(f"drop schema if exists {schema} cascade")
    connection.execute("create schema public authorization pg_database_owner")


def objects(database: Database) -> dict[str, str]:
    with connect(database.url, purpose="test") as connection:
        return dict(read_catalog(connection).objects)


def test_a_new_project_becomes_what_was_lost(backup: Backup, new: Database) -> None:
    """Its owner is no superuser, and grants everything to everybody by default."""
    reborn = restore_at(backup.folder, live(new), PROGRAMS)
    assert reborn.backup.rows == backup.rows
    # What the platform's own role grants by default is the platform's to say.
    assert not [each for each in reborn.differences if "supabase_admin" not in each]
    connection = new.connect(role="anon", autocommit=True)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select * from public.bills")
    with connect(new.url, purpose="test") as restored:
        last = read_entries(restored)[-1]
    assert (last.kind, last.evidence["folder"]) == (Kind.RESTORE, backup.folder.name)


@pytest.mark.parametrize("accounts", [True, False], ids=["with accounts", "without"])
def test_rows_that_belong_to_accounts(
    shop: Database, new: Database, tmp_path: Path, *, accounts: bool
) -> None:
    """Nobody's account can be made up: without it the rows come, and the missing key is told."""
    make = (
        "create table if not exists auth.users (id uuid primary key);"
        "grant references, select on auth.users to postgres;"
    )
    account = "insert into auth.users values ('11111111-1111-1111-1111-111111111111');"
    shop.connect(user="supabase_admin", autocommit=True).execute(make + account)
    shop.connect(autocommit=True).execute(
        "create table public.profiles (id uuid primary key references auth.users (id));"
        "insert into public.profiles values ('11111111-1111-1111-1111-111111111111');"
    )
    backup = take_backup(shop.url, PROGRAMS, tmp_path / "one")
    superuser = new.connect(user="supabase_admin", autocommit=True)
    superuser.execute(make + (account if accounts else ""))
    reborn = restore_at(backup.folder, live(new), PROGRAMS)
    told = [each for each in reborn.differences if "constraint" in each]
    assert told == ([] if accounts else ["- constraint public.profiles profiles_id_fkey"])
    users = superuser.execute("select count(*) from auth.users").fetchone()
    assert users == ((1,) if accounts else (0,))


def test_extensions_that_the_new_project_has_not_switched_on_are_made(
    shop: Database, new: Database, tmp_path: Path
) -> None:
    """By its owner, who is no superuser; a restore that fails takes them away again."""
    shop.connect(user="supabase_admin", autocommit=True).execute(
        "create extension citext with schema extensions"
    )
    shop.connect(autocommit=True).execute(
        "create table public.emails (email extensions.citext primary key);"
        "insert into public.emails values ('A@b.c')"
    )
    backup = take_backup(shop.url, PROGRAMS, tmp_path / "one")
    new.connect(autocommit=True).execute("create table public.in_the_way (id integer)")
    with pytest.raises(UsageProblem, match="not empty"):
        restore_at(backup.folder, live(new), PROGRAMS)
    new.connect(autocommit=True).execute("drop table public.in_the_way")
    reborn = restore_at(backup.folder, live(new), PROGRAMS)
    assert reborn.lacking == ()
    found = new.connect(autocommit=True).execute("select email::text from public.emails")
    assert found.fetchall() == [("A@b.c",)]


def break_pg_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it fail once there is something, whichever way it goes to the server."""
    monkeypatch.setattr("pymilk.database.restore.JOBS", "none")
    monkeypatch.setattr("pymilk.database.restore._psql_command", lambda _: ["false"])


def test_an_extension_that_cannot_be_had_is_named(
    backup: Backup, new: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    extension = Extension("no_such_extension", "tools")
    seal(replace(backup, platform=Platform((extension,))))
    reborn = restore_at(backup.folder, live(new), PROGRAMS)
    assert [each.partition(":")[0] for each in reborn.lacking] == ["no_such_extension"]
    assert "schema tools" not in objects(new)
    clear(new, backup)
    break_pg_restore(monkeypatch)
    with pytest.raises(Problem) as failed:
        restore_at(backup.folder, live(new), PROGRAMS)
    assert "not there: no_such_extension" in failed.value.happened


def test_a_failed_restore_takes_the_extensions_that_it_made_away_again(
    shop: Database, new: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.connect(user="supabase_admin", autocommit=True).execute(
        "create extension citext with schema extensions"
    )
    backup = take_backup(shop.url, PROGRAMS, tmp_path / "one")
    break_pg_restore(monkeypatch)
    with pytest.raises(Problem, match="could not be restored"):
        restore_at(backup.folder, live(new), PROGRAMS)
    left = new.connect(autocommit=True).execute("select from pg_extension where extname = 'citext'")
    assert left.fetchone() is None


def test_a_database_that_is_not_empty_is_never_restored_into(backup: Backup, new: Database) -> None:
    new.connect(autocommit=True).execute("create function public.mine() returns int return 1")
    before = objects(new)
    with pytest.raises(UsageProblem, match="not empty: there is mine"):
        restore_at(backup.folder, live(new), PROGRAMS)
    assert objects(new) == before


def test_a_restore_that_loses_its_connection_says_that_a_part_may_be_there(
    backup: Backup, new: Database
) -> None:
    superuser = new.connect(user="supabase_admin", autocommit=True)
    superuser.execute(
        "create function extensions.cut() returns event_trigger language plpgsql as"
        " $$ begin perform pg_terminate_backend(a.pid) from pg_stat_activity as a"
        " where a.application_name = 'pymilk restore' and a.datname = current_database();"
        " raise exception 'no index today'; end $$;"
        "create event trigger cut on ddl_command_start when tag in ('CREATE INDEX')"
        " execute function extensions.cut()"
    )
    with pytest.raises(Problem, match="no index today") as failed:
        restore_at(backup.folder, live(new), PROGRAMS)
    assert "may hold a part" in failed.value.state
    superuser.execute("drop event trigger cut; drop function extensions.cut()")
    restore_at(backup.folder, live(new), PROGRAMS)


def test_a_restore_that_fails_leaves_the_database_as_empty_as_it_was(
    backup: Backup, new: Database
) -> None:
    before = objects(new)
    superuser = new.connect(user="supabase_admin", autocommit=True)
    superuser.execute(
        "create function extensions.refuse() returns event_trigger language plpgsql as"
        " $$ begin raise exception 'no index today'; end $$;"
        "create event trigger refuse on ddl_command_start when tag in ('CREATE INDEX')"
        " execute function extensions.refuse()"
    )
    with pytest.raises(Problem, match="no index today") as failed:
        restore_at(backup.folder, live(new), PROGRAMS)
    assert "as empty as before" in failed.value.state
    superuser.execute("drop event trigger refuse; drop function extensions.refuse()")
    assert objects(new) == before
    restore_at(backup.folder, live(new), PROGRAMS)


def test_a_restore_that_was_killed_is_begun_anew(backup: Backup, new: Database) -> None:
    """Killed when all rows are in and nothing is compared yet: half a database, and marked so."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from pymilk.database import restore_new\n"
        "from pymilk.database.manifest import read_backup\n"
        "from pymilk.database.programs import find_programs\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "restore_new.compare = die\n"
        "restore_new.restore_into_new(read_backup(Path(sys.argv[1])), sys.argv[2], find_programs())"
    )
    command = [sys.executable, "-c", program, str(backup.folder), new.url]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert objects(new).keys() & {"table public.bills"}
    reborn = restore_at(backup.folder, live(new), PROGRAMS)
    assert not [each for each in reborn.differences if "supabase_admin" not in each]
    with connect(new.url, purpose="test") as connection:
        marked = "select shobj_description(oid, 'pg_database') from pg_database where datname = %s"
        assert connection.execute(marked, (new.name,)).fetchone() == (None,)


@pytest.fixture(scope="module")
def beside() -> Iterator[EmbeddedServer]:
    """An embedded server, with the project's own database on it."""
    with scratch() as server:
        yield server


class TestOnTheEmbeddedServer:
    """A new database beside the project's own."""

    def names(self, server: EmbeddedServer) -> set[str]:
        with psycopg.connect(server.url()) as connection:
            return {row[0] for row in connection.execute("select datname from pg_database")}

    def test_it_comes_back_equal_under_a_name_of_its_own(
        self, backup: Backup, beside: EmbeddedServer
    ) -> None:
        with psycopg.connect(beside.url(user="supabase_admin"), autocommit=True) as connection:
            connection.execute("create database restoring_deadbeef")  # what a killed one left
        reborn = restore_on_embedded(backup.folder, beside, PROGRAMS)
        assert reborn.differences == ()
        assert self.names(beside) == {
            "postgres",
            "template0",
            "template1",
            reborn.label.removesuffix(" (embedded)"),
        }
        with connect(reborn.url, purpose="test") as connection:
            assert not backup.catalog.difference(read_catalog(connection))

    def test_one_that_fails_leaves_no_database(
        self, backup: Backup, beside: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = self.names(beside)
        break_pg_restore(monkeypatch)
        with pytest.raises(Problem, match="could not be restored"):
            restore_on_embedded(backup.folder, beside, PROGRAMS)
        assert self.names(beside) == before


def test_a_backup_is_looked_at_before_anything_is_emptied(backup: Backup, new: Database) -> None:
    toc = backup.dump / "toc.dat"
    toc.write_bytes(toc.read_bytes()[:-1])
    with pytest.raises(Problem, match="was altered"):
        restore_at(backup.folder, live(new), PROGRAMS)
