"""The ledger: append-only, closed to the API, prepared by whoever comes first."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pymilk.database.catalog import Catalog
from pymilk.database.connection import Connection
from pymilk.database.ledger import (
    Event,
    Kind,
    happened,
    is_held,
    latest,
    ledger_exists,
    person,
    prepare_ledger,
    read_entries,
    read_recorded_catalog,
    record,
)
from support.databases import Database
from support.sessions import wait_until_blocked

CATALOG = Catalog({"table public.a": "owner postgres", "column public.a.b": "integer\ncomment ü"})


@pytest.fixture
def session(empty_database: Database) -> Connection:
    connection = empty_database.connect(autocommit=True)
    prepare_ledger(connection)
    return connection


def deploy_of(version: str, kind: Kind = Kind.DEPLOY) -> Event:
    return Event(kind, {}, version=version)


def test_where_there_is_no_ledger(empty_database: Database) -> None:
    connection = empty_database.connect(autocommit=True)
    assert not ledger_exists(connection)
    assert read_entries(connection) == ()
    assert not happened(connection, uuid.uuid4())


def test_an_event_comes_back_as_it_was_recorded(session: Connection) -> None:
    token = uuid.uuid4()
    event = Event(
        Kind.DEPLOY,
        {"amount": 1, "who": ["ä"], "token": token},
        version="20250917000000",
        name="gap_001_x",
        revision="abc",
        checksum="def",
        before=Catalog({}),
        after=CATALOG,
    )
    record(session, event, token)
    (entry,) = read_entries(session)
    assert (entry.kind, entry.version, entry.name) == (Kind.DEPLOY, "20250917000000", "gap_001_x")
    assert (entry.checksum, entry.person) == ("def", person())
    assert entry.evidence == {"amount": 1, "who": ["ä"], "token": str(token)}
    assert entry.after is not None
    assert entry.before is not None
    assert read_recorded_catalog(session, entry.after) == CATALOG
    assert read_recorded_catalog(session, entry.before) == Catalog({})
    assert happened(session, token)
    assert not happened(session, uuid.uuid4())


def test_a_recorded_schema_is_the_same_again(session: Connection) -> None:
    """Whatever Postgres does to it as jsonb: fingerprints are compared, and differences told."""
    record(session, Event(Kind.NOTE, {}, after=CATALOG))
    record(
        session, Event(Kind.NOTE, {}, after=Catalog(dict(reversed(list(CATALOG.objects.items())))))
    )
    found = read_recorded_catalog(session, CATALOG.fingerprint)
    assert found.fingerprint == CATALOG.fingerprint
    assert not found.difference(CATALOG)


def test_an_unknown_fingerprint_is_a_lookup_error(session: Connection) -> None:
    with pytest.raises(LookupError):
        read_recorded_catalog(session, "0" * 64)


def test_an_event_that_is_rolled_back_did_not_happen(session: Connection) -> None:
    token = uuid.uuid4()
    with session.transaction(force_rollback=True):
        record(session, deploy_of("1"), token)
        assert happened(session, token)
    assert not happened(session, token)


def test_one_token_can_happen_once(session: Connection) -> None:
    token = uuid.uuid4()
    record(session, deploy_of("1"), token)
    with pytest.raises(psycopg.errors.UniqueViolation):
        record(session, deploy_of("1"), token)


@pytest.mark.parametrize(
    "statement",
    [
        "update pymilk.events set person = 'somebody else'",
        "delete from pymilk.events",
        "truncate pymilk.events",
        "truncate pymilk.events, pymilk.catalogs",
        "update pymilk.catalogs set objects = '{}'",
        "delete from pymilk.catalogs",
        "truncate pymilk.catalogs",
        "truncate pymilk.catalogs cascade",
    ],
)
def test_the_ledger_is_append_only_even_for_the_owner(session: Connection, statement: str) -> None:
    record(session, Event(Kind.NOTE, {}, after=CATALOG))
    with pytest.raises(
        (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.FeatureNotSupported)
    ):
        session.execute(statement)
    assert len(read_entries(session)) == 1
    assert read_recorded_catalog(session, CATALOG.fingerprint) == CATALOG


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
@pytest.mark.parametrize(
    "statement",
    [
        "select from pymilk.events",
        "select from pymilk.catalogs",
        "select from pymilk.archives",
        (
            "insert into pymilk.events (token, kind, person, evidence)"
            " values (gen_random_uuid(), 'note', 'me', '{}')"
        ),
        "select pymilk.refuse_change()",
        "create table pymilk_archive.mine ()",
    ],
)
def test_the_api_cannot_reach_the_ledger(
    empty_database: Database, session: Connection, role: str, statement: str
) -> None:
    record(session, deploy_of("1"))
    api = empty_database.connect(role=role, autocommit=True)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        api.execute(statement)


def test_preparing_it_again_changes_and_locks_nothing(session: Connection) -> None:
    record(session, deploy_of("1"))
    with session.transaction():
        prepare_ledger(session)
        held = session.execute(
            "select distinct l.mode from pg_locks as l inner join pg_class as c"
            " on l.relation = c.oid where l.pid = pg_backend_pid()"
            " and c.relnamespace = 'pymilk'::regnamespace"
        ).fetchall()
        assert held in ([], [("AccessShareLock",)])
    assert len(read_entries(session)) == 1


def test_two_that_prepare_it_at_once_both_find_it_made(empty_database: Database) -> None:
    first = empty_database.connect()
    second = empty_database.connect(autocommit=True)
    watcher = empty_database.connect(autocommit=True)
    prepare_ledger(first)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(prepare_ledger, second)
        wait_until_blocked(watcher, second.info.backend_pid)
        first.commit()
        waiting.result(timeout=20)
    record(second, deploy_of("1"))
    assert len(read_entries(first)) == 1


def test_what_is_held_and_what_came_last(session: Connection) -> None:
    for version, kind in (
        ("1", Kind.ADOPT),
        ("2", Kind.DEPLOY),
        ("3", Kind.DEPLOY),
        ("3", Kind.ROLLBACK),
        ("4", Kind.DEPLOY),
        ("4", Kind.ROLLBACK),
        ("4", Kind.DEPLOY),
        ("5", Kind.REHEARSAL),
    ):
        record(session, deploy_of(version, kind))
    entries = read_entries(session)
    held = [version for version in ("1", "2", "3", "4", "5", "6") if is_held(entries, version)]
    assert held == ["3"]
    newest = latest(entries, Kind.DEPLOY)
    assert newest is not None
    assert newest.version == "4"
    third = latest(entries, Kind.DEPLOY, Kind.ROLLBACK, version="3")
    assert third is not None
    assert third.kind is Kind.ROLLBACK
    assert latest(entries, Kind.BACKUP) is None
