"""Where the copy is made: on what is set aside for it, and never on what is to be changed."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import psycopg
import pytest
from psycopg import conninfo

from pymilk.database.cluster import SUPERUSER
from pymilk.database.lookalike import make_supabase_shaped
from pymilk.database.services import stand_in_for_services
from pymilk.deploy.basis.plan import Backend, Bench, CopyAt
from pymilk.deploy.pipeline import rehearse
from pymilk.deploy.rehearsal.bench import open_bench, server_kept
from pymilk.problem import TryAgainLater, UsageProblem
from support.databases import Database
from support.projects import Silent, Toy, copy_of

_numbers = count(1)


@pytest.fixture
def spare(bench: Bench) -> Iterator[str]:
    """An empty database on another server than the target's, as its superuser."""
    name = f"spare_{next(_numbers)}"
    with psycopg.connect(bench.superuser_url, autocommit=True) as session:
        session.execute(f"create database {name} template template0".encode())
        yield conninfo.make_conninfo(bench.superuser_url, dbname=name)
        session.execute(f"drop database {name} with (force)".encode())


def test_rehearsed_in_a_database_of_ones_own(shop: Database, toy: Toy, spare: str) -> None:
    stand_in_for_services(shop.server.url(shop.name, SUPERUSER))
    session = shop.connect(user=SUPERUSER, autocommit=True)
    person = "00000000-0000-4000-8000-000000000001"
    session.execute("insert into auth.users (id) values (%s)", (person,))
    session.execute("set role postgres")
    session.execute(
        "alter table public.notes add column author uuid"
        f" default '{person}' references auth.users (id)"
    )
    plan = toy.plan(shop, overrides={"drift": "who wrote it"})
    for _ in range(2):
        evidence = rehearse(replace(plan, copy=CopyAt(Backend.URL, spare)), Silent())
        assert evidence.rehearsal is not None
        assert evidence.rehearsal.where.startswith("spare_")
        with psycopg.connect(spare) as copy:
            # A copy of live data: nothing of it is left there, not even whose rows they were.
            left = copy.execute(
                "select count(*) from pg_class as c where c.relkind in ('r', 'v', 'S')"
                " and c.relnamespace::regnamespace::text ~ '^(public|pymilk|supabase_migrations)'"
            ).fetchone()
            assert left == (0,)
            assert copy.execute("select count(*) from auth.users").fetchone() == (0,)


def test_what_was_left_by_a_killed_one_is_removed_and_anything_else_refused(spare: str) -> None:
    with psycopg.connect(spare, autocommit=True) as session:
        session.execute("create table public.mine (); create schema other")
        session.execute("create function other.f() returns int language sql as 'select 1'")
        with (
            pytest.raises(UsageProblem, match=r"isn't empty: other\.f, public\.mine\."),
            open_bench(CopyAt(Backend.URL, spare), None, 18),
        ):
            pass
        assert session.execute("select count(*) from public.mine").fetchone() == (0,)
        session.execute("drop table public.mine; drop schema other cascade")
        with open_bench(CopyAt(Backend.URL, spare), None, 18):
            session.execute("create table public.left_behind ()")
            (mark,) = session.execute(
                "select shobj_description(oid, 'pg_database') from pg_database"
                " where datname = current_database()"
            ).fetchall()
        # As if that one had been killed instead.
        name = conninfo.conninfo_to_dict(spare)["dbname"]
        session.execute(f"comment on database {name} is '{mark[0]}'".encode())
        session.execute("create table public.left_behind ()")
        with open_bench(CopyAt(Backend.URL, spare), None, 18):
            gone = session.execute("select to_regclass('public.left_behind')").fetchone()
            assert gone == (None,)


def test_many_on_one_server_and_nothing_of_the_one_before(shop: Database) -> None:
    with server_kept() as opening:
        with opening(CopyAt(), shop.url, 18) as first, psycopg.connect(first.owner_url) as copy:
            copy.execute("create schema left_behind; create table public.people (name text)")
            started = copy.execute("select pg_postmaster_start_time()").fetchone()
        with opening(CopyAt(), shop.url, 18) as second, psycopg.connect(second.owner_url) as copy:
            found = "select to_regnamespace('left_behind'), to_regclass('public.people')"
            assert copy.execute(found).fetchone() == (None, None)
            assert copy.execute("select pg_postmaster_start_time()").fetchone() == started
            assert second.kind == "embedded"


def test_one_rehearsal_at_a_time(spare: str) -> None:
    with (
        open_bench(CopyAt(Backend.URL, spare), None, 18),
        pytest.raises(TryAgainLater, match="Somebody else rehearses"),
        open_bench(CopyAt(Backend.URL, spare), None, 18),
    ):
        pass


def test_never_where_the_change_will_be_made(shop: Database, toy: Toy) -> None:
    with copy_of(shop) as other:
        for url in (shop.url, other.url):
            with pytest.raises(UsageProblem, match="on the server that is going to be changed"):
                rehearse(replace(toy.plan(shop), copy=CopyAt(Backend.URL, url)), Silent())
        rows = other.connect().execute("select count(*) from public.customers").fetchone()
        assert rows == (3,)


def test_only_a_superuser_restores_everything(spare: str) -> None:
    make_supabase_shaped(spare)
    owner = conninfo.make_conninfo(spare, user="postgres")
    with (
        pytest.raises(UsageProblem, match="postgres is no superuser on"),
        open_bench(CopyAt(Backend.URL, owner), None, 18),
    ):
        pass


def test_what_roles_grant_by_default_is_as_it_was(spare: str) -> None:
    granted = "select count(*) from pg_default_acl"
    with psycopg.connect(spare, autocommit=True) as session:
        before = session.execute(granted).fetchone()
        with open_bench(CopyAt(Backend.URL, spare), None, 18):
            # As a live schema may have them: fewer than usual, and more.
            for change in (
                "revoke execute on functions from public",
                "grant select on tables to anon",
                "revoke all on types from postgres",
                "in schema extensions grant usage on sequences to anon",
            ):
                session.execute(f"alter default privileges for role postgres {change}".encode())
        assert session.execute(granted).fetchone() == before == (0,)
