"""Tills on the demo dairy with gap 001 fixed: one that is looked at, and one for each test."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import TupleRow

from pymilk import Client
from support.databases import Database, Templates
from support.till import Till, open_till


@pytest.fixture
def till(dairy_001: Database) -> Till:
    """A till of the test's own, in a database of its own."""
    return open_till(dairy_001)


@pytest.fixture(scope="session")
def shared_till(templates: Templates) -> Iterator[Till]:
    """A till that many tests use, each through `connection`, so that it stays as it is."""
    with templates.clone("dairy_001") as database:
        yield open_till(database)


@pytest.fixture
def connection(shared_till: Till) -> Iterator[psycopg.Connection[TupleRow]]:
    """A session of the owner in the shared till, whose transaction is rolled back."""
    with psycopg.connect(shared_till.database.url) as session:
        yield session
        session.rollback()


@pytest.fixture
def client(connection: psycopg.Connection[TupleRow]) -> Client:
    """A client on `connection`."""
    return Client.postgres(connection)
