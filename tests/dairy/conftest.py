"""The books of the demo dairy, before the gaps are fixed and after."""

import os
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from dairy.billing import Billing
from dairy.books import Books
from dairy.stages import alone_and_with_all
from pymilk.database.cluster import SUPERUSER
from pymilk.database.lookalike import DefaultPrivileges, make_supabase_shaped
from support.databases import Database
from support.servers import Server, offers

# Not skipped where they can't run: CI takes no skip for an answer, and has what they need.
collect_ignore = [
    *([] if offers("plpgsql_check") else ["test_plpgsql_check.py"]),
    *([] if "PYMILK_SUPABASE_CLI" in os.environ else ["test_advisors.py"]),
]


@pytest.fixture(params=alone_and_with_all("dairy_001"))
def fixed(request: pytest.FixtureRequest) -> Database:
    """The demo dairy with gap 001 fixed alone, and with everything."""
    database = request.getfixturevalue(request.param)
    assert isinstance(database, Database)
    return database


@pytest.fixture
def books(fixed: Database) -> Books:
    """The books of that dairy, kept by the owner; every statement commits."""
    return Books(fixed.connect(autocommit=True))


@pytest.fixture
def books_001(dairy_001: Database) -> Books:
    """The books with gap 001 fixed alone: what later gaps rule out is still there."""
    return Books(dairy_001.connect(autocommit=True))


@pytest.fixture
def old_books(dairy: Database) -> Books:
    """The books before any gap is fixed, kept by the owner; every statement commits."""
    return Books(dairy.connect(autocommit=True))


@pytest.fixture(params=list(DefaultPrivileges), ids=lambda each: each.name.lower())
def either_privileges(server: Server, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A Supabase-shaped database, once with each variant of default privileges."""
    database = Database(f"privileges_{uuid4().hex}", server)
    name = sql.Identifier(database.name)
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as session:
        session.execute(
            sql.SQL("create database {} template template0 owner postgres").format(name)
        )
        try:
            make_supabase_shaped(database.superuser_url, privileges=request.param)
            with database.lent() as shaped:
                yield shaped
        finally:
            session.execute(sql.SQL("drop database {} with (force)").format(name))


@pytest.fixture(params=alone_and_with_all("dairy_006"))
def billing(request: pytest.FixtureRequest) -> Billing:
    """The books with gap 006 fixed, and with everything; every statement commits."""
    database = request.getfixturevalue(request.param)
    assert isinstance(database, Database)
    return Billing(database.connect(autocommit=True))
