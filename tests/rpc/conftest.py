"""A till on the demo dairy with gap 001 fixed, and a client on a connection to it."""

import psycopg
import pytest
from psycopg.rows import TupleRow

from pymilk import Client
from support.databases import Database
from support.till import Till, open_till


@pytest.fixture
def till(dairy_001: Database) -> Till:
    return open_till(dairy_001)


@pytest.fixture
def connection(till: Till) -> psycopg.Connection[TupleRow]:
    """The owner's, in a transaction that nobody commits."""
    return till.database.connect()


@pytest.fixture
def client(connection: psycopg.Connection[TupleRow]) -> Client:
    return Client.postgres(connection)
