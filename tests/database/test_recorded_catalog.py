"""The live schema beside a recorded one: planned beforehand, and the session left as it was."""

from collections.abc import Iterator

import pytest

from pymilk.database.catalog import read_catalog
from pymilk.database.connection import Connection, connect
from pymilk.database.ledger import prepare_ledger
from pymilk.database.recorded_catalog import read_catalog_beside, record_catalogs
from support.databases import Database

_SETTINGS = "select current_setting('search_path'), current_setting('plan_cache_mode')"


@pytest.fixture
def session(empty_database: Database) -> Iterator[Connection]:
    with connect(empty_database.url, purpose="test") as connection:
        prepare_ledger(connection)
        yield connection


def test_the_comparison_is_planned_once_and_before_it_is_needed(session: Connection) -> None:
    before = read_catalog(session)
    record_catalogs(session, [before])
    assert read_catalog_beside(session, before) == before
    with session.transaction():
        # Whatever the change is: the plan stays, or is made anew by itself.
        session.execute("create schema other; create table public.bottles (id integer)")
        found = read_catalog_beside(session, before)
    assert before.difference(found).names == {
        "schema other",
        "table public.bottles",
        "column public.bottles.id",
    }
    plans = session.execute(
        "select generic_plans, custom_plans from pg_prepared_statements"
        " where statement like '%full join%'"
    ).fetchall()
    assert plans == [(2, 0)]


def test_a_session_is_left_as_it_was(session: Connection) -> None:
    session.execute("set search_path = extensions; set plan_cache_mode = force_custom_plan")
    was = session.execute(_SETTINGS).fetchone()
    with session.transaction():
        read_catalog(session)
        assert session.execute(_SETTINGS).fetchone() == was
    assert session.execute(_SETTINGS).fetchone() == was
