"""A supabase/ folder that is not ours: no rollbacks, and much that only Supabase has."""

from pathlib import Path

import psycopg
import pytest

from pymilk.cli.render_plan import statements_text
from pymilk.database.connection import connect
from pymilk.database.history import prepare_history, record_applied
from pymilk.database.ledger import prepare_ledger
from pymilk.database.platform import services_in
from pymilk.database.services import stand_in_for_services
from pymilk.deploy.backup import backup, restore_test
from pymilk.deploy.basis.evidence import Evidence
from pymilk.deploy.basis.plan import Bench
from pymilk.deploy.pipeline import rehearse
from pymilk.deploy.survey import preflight
from pymilk.problem import Problem
from pymilk.project.project import load_project
from support.databases import Database
from support.projects import Silent, Toy, bench, deploy_toy

__all__ = ["bench"]

FIRST = "20240101000000_profiles"
SECOND = "0002_files_and_teams"
THIRD = "20240301000000_slugs"

FIRST_SQL = """\ufeffbegin;
create extension if not exists "pgcrypto" with schema extensions;
create extension if not exists "uuid-ossp";

create type public.plan as enum ('free', 'pro');
create table public.profiles (
  id uuid references auth.users on delete cascade primary key,
  plan public.plan not null default 'free',
  token uuid default extensions.gen_random_uuid(),
  public_id uuid default uuid_generate_v4()
);
alter table public.profiles enable row level security;
create policy "Own profile." on public.profiles for select using ((select auth.uid()) = id);

create function public.handle_new_user() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.profiles (id) values (new.id);
  return new;
end;
$$;
create trigger on_auth_user_created after insert on auth.users
  for each row execute procedure public.handle_new_user();
commit;
"""

SECOND_SQL = """\
insert into storage.buckets (id, name, public) values ('avatars', 'avatars', true)
on conflict do nothing;
create policy "Avatars are everybody's" on storage.objects for select
  using (bucket_id = 'avatars');
create policy "Own avatar" on storage.objects for insert to authenticated
  with check (bucket_id = 'avatars' and (storage.foldername(name))[1] = auth.uid()::text);

do $$
begin
  if not exists (select from pg_class where relname = 'teams') then
    create table public.teams (
      id uuid primary key default gen_random_uuid(),
      owner uuid not null references auth.users (id),
      name text not null
    );
  end if;
end
$$;
create view public.team_names with (security_invoker = on) as select t.name from public.teams as t;
alter publication supabase_realtime add table public.teams;
"""

THIRD_SQL = """\
BEGIN TRANSACTION;
alter table public.teams add column slug text;
update public.teams set slug = lower(name);
create policy "Slugs" on storage.objects for delete using (owner = auth.uid());
drop trigger on_auth_user_created on auth.users;
END;
"""

WHY = {"rollback": "they never had one", "verification": "nor one of those"}


@pytest.fixture
def theirs(tmp_path: Path) -> Toy:
    """Their project: three migrations and nothing else."""
    toy = Toy(tmp_path / "theirs")
    toy.up(FIRST_SQL.replace("\n", "\r\n"), stem=FIRST)
    toy.up(SECOND_SQL, stem=SECOND)
    toy.up(THIRD_SQL, stem=THIRD)
    return toy


@pytest.fixture
def their_database(empty_database: Database, theirs: Toy) -> Database:
    """Their live database: two migrations applied by the Supabase CLI, people, teams."""
    stand_in_for_services(empty_database.superuser_url)
    with connect(empty_database.url, purpose="test") as connection:
        prepare_history(connection)
        by_age = sorted(
            load_project(theirs.root).migrations, key=lambda each: each.name != "profiles"
        )
        for migration in by_age[:2]:
            for statement in migration.up.statements:
                connection.execute(statement.text.encode())
            record_applied(connection, migration)
    empty_database.connect(user="supabase_admin", autocommit=True).execute(
        "insert into auth.users (id, email) select gen_random_uuid(), n || '@example.com'"
        " from generate_series(1, 5) as n;"
        " insert into public.teams (owner, name)"
        " select u.id, 'Team ' || u.email from auth.users as u"
    )
    return empty_database


def test_it_is_rehearsed_and_deployed_as_it_is(their_database: Database, theirs: Toy) -> None:
    evidence = deploy_toy(theirs.plan(their_database, "slugs", overrides=WHY))

    assert evidence.restore_test is not None
    assert set(evidence.restore_test.stood_in) >= {"pgcrypto", "uuid-ossp"}
    assert evidence.rehearsal is not None
    assert evidence.rehearsal.down is None
    after = their_database.connect()
    assert after.execute(
        "select count(*) from public.teams where slug like 'team %'"
    ).fetchone() == (5,)
    policies = "select policyname from pg_policies where schemaname = 'storage' order by 1"
    assert [name for (name,) in after.execute(policies)] == [
        *("Avatars are everybody's", "Own avatar", "Slugs"),
    ]
    triggers = "select count(*) from pg_trigger where tgname = 'on_auth_user_created'"
    assert after.execute(triggers).fetchone() == (0,)


def test_without_reasons_it_is_told_what_is_missing(
    their_database: Database, theirs: Toy, bench: Bench
) -> None:
    plan = theirs.plan(their_database, "slugs")
    with connect(their_database.url, purpose="test") as guard, pytest.raises(Problem) as refused:
        preflight.run(plan, guard, bench, Evidence())
    assert "[rollback]" in refused.value.happened
    assert "[verification]" in refused.value.happened
    assert "--override rollback=" in refused.value.todo


def test_the_copy_knows_that_people_exist_and_nothing_more(
    their_database: Database, theirs: Toy, bench: Bench
) -> None:
    plan = theirs.plan(their_database, "slugs")
    with connect(their_database.url, purpose="test") as connection:
        prepare_ledger(connection)
    evidence = Evidence()
    for step in (backup, restore_test):
        evidence = step.run(plan, bench, evidence)
    with psycopg.connect(bench.superuser_url) as copy:
        policies = "select count(*) from pg_policies where tablename = 'objects'"
        people = copy.execute("select count(*), count(email) from auth.users").fetchone()
        triggers = "select count(*) from pg_trigger where tgname = 'on_auth_user_created'"
        assert people == (5, 0)
        assert copy.execute(policies).fetchone() == (2,)
        assert copy.execute(triggers).fetchone() == (1,)


def test_an_extension_without_a_stand_in_is_named(their_database: Database, theirs: Toy) -> None:
    theirs.up('create extension "postgis";', stem=THIRD)
    with pytest.raises(Problem) as refused:
        deploy_toy(theirs.plan(their_database, "slugs", overrides=WHY))
    assert 'extension "postgis" is not available' in refused.value.happened


class TestWhatAMigrationReadsOfAccounts:
    """A copy has the keys of the accounts alone: what that leaves unproven is said."""

    def test_it_is_named_with_its_line(self, their_database: Database, theirs: Toy) -> None:
        theirs.up(
            "create table public.logins (id uuid references auth.users (id), email text);\n"
            "insert into public.logins (id) select t.owner from public.teams as t;\n"
            "update public.logins as l set email = u.email from auth.users as u"
            " where l.id = u.id;\n"
            "create view public.people as select u.id from auth.users as u;\n"
            "alter table public.teams add foreign key (owner) references auth.users (id);\n"
            "do $$ begin perform count(*) from auth.users; end $$;",
            stem=THIRD,
        )
        found = rehearse(theirs.plan(their_database, "slugs", overrides=WHY), Silent()).rehearsal
        assert found is not None
        assert {one.line: one.unproven for one in found.up.statements} == {
            **dict.fromkeys((1, 2, 4, 5), ()),
            **dict.fromkeys((3, 6), ("auth.users",)),
        }
        told = "\n".join(statements_text(found.up.statements))
        assert told.count("reads auth.users, of which a copy has the keys alone") == 2

    def test_one_that_fails_of_it_says_why_it_may(
        self, their_database: Database, theirs: Toy
    ) -> None:
        theirs.up(
            "create table public.logins (email text not null);\n"
            "insert into public.logins select u.email from auth.users as u;",
            stem=THIRD,
        )
        with pytest.raises(Problem, match="null value in column") as failed:
            rehearse(theirs.plan(their_database, "slugs", overrides=WHY), Silent())
        assert "a copy has the keys of the platform's rows" in failed.value.todo

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("select email from auth.users", {"auth"}),
            ('select 1 from "auth" . "users" u, storage.objects', {"auth", "storage"}),
            ("select auth.uid(), vault.create_secret('x')", set()),
            ("create table a (b uuid references auth.users (id))", set()),
            ("select author.users, my_auth.users from authors.users", set()),
        ],
    )
    def test_what_counts_as_naming_a_table_of_the_platform(
        self, text: str, named: set[str]
    ) -> None:
        assert services_in(text) == named
