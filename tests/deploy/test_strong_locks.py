"""The strong locks of a change: in the order in which the app comes by, all at once or none."""

import psycopg
import pytest

from pymilk.database.connection import Connection, connect
from pymilk.database.contents import read_tables
from pymilk.deploy.change.one_go import in_one_go
from pymilk.deploy.change.script import read_settings
from pymilk.deploy.change.strong_locks import LocksNotHad, Needed, Taking, taking
from support.databases import Database

BOTH = {"public.bills": "AccessExclusiveLock", "public.customers": "ShareRowExclusiveLock"}


def statement(database: Database, modes: dict[str, str]) -> str:
    with connect(database.url, purpose="test") as session:
        tables = read_tables(session, ["public"])
        found = taking(session, Needed(1, modes), tables, 100)
        assert found is not None
        return found.statement.as_string(session)


def take(session: Connection, locks: Taking) -> None:
    with session.transaction(), in_one_go(session, read_settings(session)) as go:
        go.take(locks)


def test_what_refers_comes_before_what_it_refers_to(shop: Database) -> None:
    said = statement(shop, BOTH)
    assert said.index('"bills" in access exclusive') < said.index('"customers" in share row')


def test_tables_that_refer_in_a_circle_have_some_order(shop: Database) -> None:
    shop.connect(autocommit=True).execute(
        "alter table public.customers add column last_bill int references public.bills (id)"
    )
    said = statement(shop, BOTH)
    assert '"bills"' in said
    assert '"customers"' in said


def test_none_of_them_is_kept_when_one_is_not_to_be_had(shop: Database) -> None:
    reader = shop.connect()
    reader.execute("update public.customers set opening = 1 where id = 1")
    with connect(shop.url, purpose="test") as session:
        tables = read_tables(session, ["public"])
        locks = taking(session, Needed(1, BOTH), tables, 100)
        assert locks is not None
        with pytest.raises(LocksNotHad):
            take(session, locks)
    # Within a transaction by default, and without waiting.
    shop.connect().execute("lock table public.bills in share mode nowait")


def test_the_limit_is_for_taking_them_alone(shop: Database) -> None:
    with connect(shop.url, purpose="test") as session, session.transaction():
        tables = read_tables(session, ["public"])
        locks = taking(session, Needed(1, BOTH), tables, 50)
        assert locks is not None
        with in_one_go(session, read_settings(session)) as go:
            go.take(locks)
            slept = go.query("select pg_sleep(0.2), clock_timestamp()")
        assert slept.fetchone() is not None
        with psycopg.connect(shop.url) as other:
            other.execute("set lock_timeout = '10ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("select from public.bills")


def test_nothing_needed_nothing_taken(shop: Database) -> None:
    with connect(shop.url, purpose="test") as session:
        assert taking(session, None, read_tables(session, ["public"]), 100) is None
        theirs = Needed(1, {"auth.users": "ShareRowExclusiveLock"})
        assert taking(session, theirs, read_tables(session, ["public"]), 100) is None
