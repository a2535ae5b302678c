"""A database with tables and no history is taken into care: compared first, then marked."""

import shutil
from contextlib import nullcontext
from dataclasses import dataclass

import pytest

from pymilk.database.catalog import read_catalog
from pymilk.database.connection import Connection, Target
from pymilk.database.embedded import EmbeddedServer
from pymilk.database.history import read_history
from pymilk.database.ledger import Kind, read_entries, read_recorded_catalog
from pymilk.database.lookalike import DefaultPrivileges, make_supabase_shaped
from pymilk.database.services import stand_in_for_services
from pymilk.deploy.change.replay import empty_project, replay
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.survey.adopt import Adopted, adopt
from pymilk.deploy.survey.drift import drift_on
from pymilk.deploy.survey.status import Standing, read_status
from pymilk.problem import Problem
from pymilk.project.migrations import load_migrations
from pymilk.project.policy import Policy, Preset
from pymilk.project.project import load_project
from support.commands import run
from support.databases import Database
from support.projects import BASELINE, BASELINE_SQL, GAP, ROWS_SQL, UP_SQL, Toy, deploy_toy

FIRST_UP = "create table public.visits (id integer primary key);"
FIRST_DOWN = "drop table public.visits;"


@dataclass(frozen=True)
class Adopter:
    """Adopts, replaying on the scratch server that the tests share."""

    toy: Toy
    scratch_server: EmbeddedServer

    def take(self, url: str, reason: str | None = None) -> Adopted:
        """Adopt the database."""
        project, target = load_project(self.toy.root), Target(url, Preset.LOCAL)
        return adopt(project, target, Policy(), reason, lambda: nullcontext(self.scratch_server))

    def refused(self, url: str) -> Problem:
        """What is said when it is not adopted."""
        with pytest.raises(Problem) as refused:
            self.take(url)
        assert refused.value.state.startswith(("Nothing was changed", "No database was touched"))
        assert refused.value.todo
        return refused.value


@pytest.fixture
def adopter(toy: Toy, scratch_server: EmbeddedServer) -> Adopter:
    return Adopter(toy, scratch_server)


def standings(toy: Toy, database: Database) -> list[Standing]:
    plan = toy.plan(database)
    return [row.standing for row in read_status(plan.target.url, plan.project).rows]


@pytest.mark.parametrize("privileges", DefaultPrivileges)
def test_a_database_that_is_the_baseline_is_marked(
    empty_database: Database, toy: Toy, privileges: DefaultPrivileges, adopter: Adopter
) -> None:
    make_supabase_shaped(empty_database.superuser_url, privileges=privileges)
    session = empty_database.connect(autocommit=True)
    session.execute(BASELINE_SQL)
    session.execute(ROWS_SQL)
    assert standings(toy, empty_database) == [Standing.PENDING, Standing.PENDING]
    adopted = adopter.take(empty_database.url)
    assert (adopted.version, adopted.name) == tuple(BASELINE.split("_", 1))
    assert adopted.differences == ()
    assert standings(toy, empty_database) == [Standing.APPLIED, Standing.PENDING]
    (row,) = session.execute(
        "select version, statements, name from supabase_migrations.schema_migrations"
    ).fetchall()
    (baseline, _) = load_migrations(toy.root / "supabase")
    statements = [statement.text for statement in baseline.up.statements]
    assert row == (adopted.version, statements, adopted.name)
    assert "there is nothing to adopt" in adopter.refused(empty_database.url).happened


def test_a_difference_is_named_and_nothing_is_marked(
    empty_database: Database, adopter: Adopter
) -> None:
    session = empty_database.connect(autocommit=True)
    session.execute(BASELINE_SQL)
    session.execute("alter table public.notes alter column body set not null; drop table marks")
    problem = adopter.refused(empty_database.url)
    assert f"isn't the baseline {BASELINE}" in problem.happened
    assert "~ column public.notes.body" in problem.happened
    assert "- table public.marks" in problem.happened
    assert "--override drift=" in problem.todo
    schemas = session.execute(
        "select nspname from pg_namespace where nspname in ('pymilk', 'supabase_migrations')"
    )
    assert schemas.fetchall() == []
    adopted = adopter.take(empty_database.url, "we know, and mean to mend it")
    assert "table public.marks" in adopted.differences
    (entry,) = read_entries(session)
    assert entry.evidence["reason"] == "we know, and mean to mend it"


def test_it_is_done_as_the_owner(empty_database: Database, adopter: Adopter) -> None:
    empty_database.connect(autocommit=True).execute(BASELINE_SQL)
    assert "is a superuser" in adopter.refused(empty_database.superuser_url).happened


def test_a_baseline_that_cannot_be_made_says_why(
    empty_database: Database, toy: Toy, adopter: Adopter
) -> None:
    empty_database.connect(autocommit=True).execute(BASELINE_SQL)
    toy.up(f"{BASELINE_SQL}\nselect public.no_such_function();", stem=BASELINE)
    problem = adopter.refused(empty_database.url)
    assert f"migrations/{BASELINE}.sql, line " in problem.happened
    assert "no_such_function" in problem.happened


@pytest.mark.parametrize("first", ["written first", "adopted first"])
def test_the_first_migration_of_an_empty_database_is_deployed(
    first: str, empty_database: Database, toy: Toy, adopter: Adopter
) -> None:
    shutil.rmtree(toy.root / "supabase")
    (toy.root / "supabase").mkdir()
    shutil.rmtree(toy.root / "sql")
    if first == "written first":
        toy.gap(FIRST_UP, FIRST_DOWN)
    adopted = adopter.take(empty_database.url)
    assert (adopted.version, adopted.marked, adopted.written) == (None, (), None)
    session = empty_database.connect(autocommit=True)
    (entry,) = read_entries(session)
    assert (entry.kind, entry.version, entry.evidence["marked"]) == (Kind.ADOPT, None, [])
    assert read_history(session) == ()
    assert "nothing to adopt" in adopter.refused(empty_database.url).happened
    if first == "adopted first":
        toy.gap(FIRST_UP, FIRST_DOWN)
    assert standings(toy, empty_database) == [Standing.PENDING]
    plan = toy.plan(empty_database)
    deploy_toy(plan)
    assert standings(toy, empty_database) == [Standing.APPLIED]
    assert session.execute("select count(*) from public.visits").fetchone() == (0,)
    assert drift_on(adopter.scratch_server, plan.project, plan.target).moved == ()
    roll_back(plan, archive=False)
    assert standings(toy, empty_database) == [Standing.HELD]
    assert session.execute("select to_regclass('public.visits') is null").fetchone() == (True,)
    deploy_toy(plan)
    assert standings(toy, empty_database) == [Standing.APPLIED]


def test_that_nothing_was_marked_is_said(empty_database: Database, toy: Toy) -> None:
    on = ("--db-url", empty_database.url)
    said = run("adopt", "--yes", *on, cwd=toy.root).stdout
    assert "the database is empty, so nothing was marked as applied" in said
    assert "pymilk deploy" in said
    told = run("history", *on, cwd=toy.root)
    assert (told.returncode, "None" in told.stdout) == (0, False), told


@pytest.mark.parametrize("reason", [None, "whatever"])
def test_files_of_which_nothing_is_live_are_never_marked(
    reason: str | None, empty_database: Database, adopter: Adopter
) -> None:
    session = empty_database.connect(autocommit=True)
    session.execute("create table public.others (id integer primary key)")
    with pytest.raises(Problem, match=r"- column public\.bills\.amount") as refused:
        adopter.take(empty_database.url, reason)
    assert "--override" not in refused.value.todo
    assert "nothing of what that file makes" in refused.value.todo
    assert read_entries(session) == ()


def test_without_tables_what_else_is_live_is_written_down(
    empty_database: Database, toy: Toy, adopter: Adopter
) -> None:
    session = empty_database.connect(autocommit=True)
    session.execute("create type public.mood as enum ('good')")
    shutil.rmtree(toy.root / "supabase" / "migrations")
    assert adopter.take(empty_database.url).written is not None


@pytest.mark.parametrize("privileges", DefaultPrivileges)
def test_without_a_baseline_the_live_schema_is_written_down(
    empty_database: Database,
    toy: Toy,
    scratch_server: EmbeddedServer,
    privileges: DefaultPrivileges,
    adopter: Adopter,
) -> None:
    make_supabase_shaped(empty_database.superuser_url, privileges=privileges)
    session = empty_database.connect(autocommit=True)
    session.execute(BASELINE_SQL)
    session.execute(UP_SQL)
    session.execute(
        "create schema private; create type private.mood as enum ('ok'); create view public.debts"
        " as select * from public.bills; comment on column public.bills.paid is 'a; b -- c';"
        "revoke all on public.bills from anon; grant select (id) on public.bills to anon"
    )
    live = read_catalog(session)
    shutil.rmtree(toy.root / "supabase" / "migrations")
    adopted = adopter.take(empty_database.url)
    assert read_catalog(session).fingerprint == live.fingerprint
    (baseline,) = load_migrations(toy.root / "supabase")
    assert adopted.written == f"supabase/migrations/{baseline.stem}.sql"
    assert baseline.irreversible
    # It makes that schema wherever it is run, whatever the default privileges there.
    for variant in DefaultPrivileges:
        with empty_project(scratch_server, variant) as scratch:
            difference = live.difference(replay(scratch, [baseline.up]))
            assert {name for name in difference.names if "default privileges" not in name} == set()
    (row,) = read_history(session)
    assert row.version == baseline.version
    project = load_project(toy.root)
    assert [each.standing for each in read_status(empty_database.url, project).rows] == [
        Standing.APPLIED
    ]


def test_what_the_project_has_on_the_platforms_tables_is_written_down_too(
    empty_database: Database, toy: Toy, scratch_server: EmbeddedServer, adopter: Adopter
) -> None:
    stand_in_for_services(empty_database.superuser_url)
    session = empty_database.connect(autocommit=True)
    session.execute(BASELINE_SQL)
    session.execute(
        """
        create function public.welcome() returns trigger language plpgsql security definer
        set search_path = pg_catalog, pg_temp as $$ begin return new; end; $$;
        create trigger welcome after insert on auth.users
        for each row execute function public.welcome();
        create trigger asleep before update on auth.users
        for each row when (old.email is distinct from new.email) execute function public.welcome();
        alter table auth.users disable trigger asleep;
        insert into storage.buckets (id, name, public) values ('bills', 'bills', false);
        create policy "own files; only" on storage.objects for select to authenticated
        using (bucket_id = 'bills' and owner_id = (select auth.uid()::text));
        comment on policy "own files; only" on storage.objects is 'staff''s';
        alter publication supabase_realtime add table public.bills;
        """
    )
    offered = session.execute("select from pg_available_extensions where name = 'pg_cron'")
    if offered.fetchone():
        session.execute(
            "create extension pg_cron; select cron.schedule('nightly', '0 3 * * *', 'select 1')"
        )
    live = read_catalog(session)
    shutil.rmtree(toy.root / "supabase" / "migrations")
    assert adopter.take(empty_database.url).differences == ()
    assert read_catalog(session).fingerprint == live.fingerprint
    (baseline,) = load_migrations(toy.root / "supabase")
    assert {"trigger auth.users welcome", "bucket bills"} <= set(live.objects)
    with empty_project(scratch_server, DefaultPrivileges.OPEN) as scratch:
        assert live.difference(replay(scratch, [baseline.up])).sentences() == ()


def test_as_many_files_as_fit_are_marked(
    empty_database: Database, toy: Toy, adopter: Adopter
) -> None:
    session = empty_database.connect(autocommit=True)
    session.execute(BASELINE_SQL)
    session.execute(UP_SQL)
    toy.up("select nothing();", stem="20250918000000_gap_002_later")
    adopted = adopter.take(empty_database.url)
    assert adopted.marked == (BASELINE, GAP)
    assert standings(toy, empty_database) == [
        Standing.APPLIED,
        Standing.APPLIED,
        Standing.PENDING,
    ]


class TestTheClisHistory:
    """What `supabase db push` has applied is taken over as it is, when the files are the same."""

    @pytest.fixture
    def pushed(self, empty_database: Database) -> Connection:
        session = empty_database.connect(autocommit=True)
        session.execute(BASELINE_SQL)
        session.execute(
            "create schema supabase_migrations;"
            "create table supabase_migrations.schema_migrations"
            " (version text primary key, statements text[], name text)"
        )
        session.execute(
            "insert into supabase_migrations.schema_migrations values (%s, %s, 'baseline')",
            (BASELINE.partition("_")[0], [BASELINE_SQL]),
        )
        return session

    def test_it_is_compared_and_left_as_it_is(
        self, pushed: Connection, empty_database: Database, adopter: Adopter
    ) -> None:
        rows = pushed.execute("select * from supabase_migrations.schema_migrations").fetchall()
        adopted = adopter.take(empty_database.url)
        assert (adopted.marked, adopted.written) == ((), None)
        assert adopted.version == BASELINE.partition("_")[0]
        assert (
            rows == pushed.execute("select * from supabase_migrations.schema_migrations").fetchall()
        )
        (entry,) = read_entries(pushed)
        assert read_recorded_catalog(pushed, entry.after or "").fingerprint == (
            read_catalog(pushed).fingerprint
        )
        assert "nothing to adopt" in adopter.refused(empty_database.url).happened

    def test_what_was_changed_by_hand_is_named(
        self, pushed: Connection, empty_database: Database, adopter: Adopter
    ) -> None:
        pushed.execute("drop table public.marks")
        assert "- table public.marks" in adopter.refused(empty_database.url).happened
        assert read_entries(pushed) == ()

    def test_another_history_is_refused(
        self, pushed: Connection, empty_database: Database, toy: Toy, adopter: Adopter
    ) -> None:
        toy.up(f"{BASELINE_SQL}\ncreate table public.more ();", stem=BASELINE)
        problem = adopter.refused(empty_database.url)
        assert f"Files say something else than what was applied: {BASELINE}" in problem.happened
        pushed.execute(
            "insert into supabase_migrations.schema_migrations values ('1', null, 'gone')"
        )
        assert "not among the files here: 1_gone" in adopter.refused(empty_database.url).happened
