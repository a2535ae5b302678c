"""Tills on the demo dairy: with gap 001 fixed for psycopg's own tests, with all for every way's."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import TupleRow

from pymilk import Client
from rpc.ways import WAYS, Caller, Office, lent, open_office, opened
from support.databases import Database, Templates
from support.till import Till, open_till
from support.tools import left_out, tool

STAND_INS = Path(__file__).with_name("stand_ins.sql")


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


@pytest.fixture(scope="session")
def shared_office(templates: Templates) -> Iterator[Office]:
    """Everything deployed, and the real PostgREST in front of it where it is installed."""
    with open_office(templates, STAND_INS) as office:
        yield office


@pytest.fixture
def office(shared_office: Office) -> Iterator[Office]:
    """The office for one test: sessions that it opens end with it."""
    with lent(shared_office) as office:
        yield office


@pytest.fixture
def own_till(office: Office) -> Till:
    """A till in the office that no other test touches."""
    return open_till(office.database)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """Each way, one after the other."""
    name = str(request.param)
    if name.startswith("supabase") and tool("postgrest") is None:
        pytest.skip(left_out("postgrest"))
    return name


class Opened:
    """The clients that are open.

    Args:
        until: When they are closed.
    """

    def __init__(self, until: ExitStack) -> None:
        self._until = until
        self._clients: dict[str, Caller] = {}

    def by(self, way: str, office: Office) -> Caller:
        """The one that goes this way."""
        if way not in self._clients:
            self._clients[way] = self._until.enter_context(opened(way, office))
        return self._clients[way]


@pytest.fixture(scope="session")
def callers(shared_office: Office) -> Iterator[Opened]:
    """The clients that were opened, by their way: making one takes longer than a test."""
    del shared_office  # asked for, so that it ends after them
    with ExitStack() as opened_ones:
        yield Opened(opened_ones)


@pytest.fixture
def caller(way: str, office: Office, callers: Opened) -> Caller:
    """A client that goes this way, as the back office does."""
    return callers.by(way, office)


@pytest.fixture
def api_office(office: Office) -> Office:
    """The office with PostgREST, or the test is left out."""
    if office.api is None:
        pytest.skip(left_out("postgrest"))
    return office
