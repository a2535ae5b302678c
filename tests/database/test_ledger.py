"""The ledger: append-only, closed to the API, prepared by whoever comes first."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from pymilk.database.catalog import Catalog
from pymilk.database.connection import Connection
from pymilk.database.ledger import (
    Event,
    Kind,
    Outcome,
    happened,
    is_held,
    latest,
    ledger_exists,
    person,
    prepare_ledger,
    read_entries,
    read_recorded_catalog,
    record,
    whole,
)
from pymilk.database.ledger_version import NEWEST, ledger_version, tool
from pymilk.problem import Problem
from support.databases import Database, Templates
from support.sessions import wait_until_blocked

# The real one, as the first pymilk made it: never to be edited.
FIRST_LEDGER = (Path(__file__).parent / "ledgers" / "version_1.sql").read_bytes()

CATALOG = Catalog({"table public.a": "owner postgres", "column public.a.b": "integer\ncomment ü"})


@pytest.fixture
def session(empty_database: Database) -> Connection:
    connection = empty_database.connect(autocommit=True)
    prepare_ledger(connection)
    return connection


@pytest.fixture
def session_beside(templates: Templates) -> Iterator[Connection]:
    """Another empty database, without a ledger."""
    with templates.clone("empty") as database:
        yield database.connect(autocommit=True)


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
    with pytest.raises(AssertionError, match="was not read"):
        entry.evidence.get("amount")  # a deploy without proof must not look like one
    entry = whole(session, entry)
    assert whole(session, entry) is entry
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


class TestVersions:
    """The ledger is brought up to date, whatever pymilk made it, and never lost."""

    @pytest.fixture
    def old(self, empty_database: Database) -> Connection:
        """A ledger as the first pymilk made it, in use."""
        connection = empty_database.connect(autocommit=True)
        connection.execute(FIRST_LEDGER)
        connection.execute(
            """
            insert into pymilk.catalogs (fingerprint, objects) values ('f', '{"table a": "x"}');
            insert into pymilk.events (token, kind, version, name, person, checksum,
              catalog_after, evidence)
            values
              (gen_random_uuid(), 'adopt', '1', 'baseline', 'asha@desk', 'c', 'f', '{}'),
              (gen_random_uuid(), 'deploy', '2', 'gap_001_x', 'asha@desk', 'd', 'f', '{"a": 1}');
            insert into pymilk.archives (version, kind, schema_name, table_name, column_names,
              key_columns, archive_name, row_count)
            values ('2', 'table', 'public', 't', '{a}', '{a}', 't_1', 3);
            """
        )
        return connection

    def test_an_old_one_keeps_its_rows_and_takes_new_ones(self, old: Connection) -> None:
        before = rows_of(old)
        assert [entry.outcome for entry in read_entries(old)] == [Outcome.DONE, Outcome.DONE]
        prepare_ledger(old)
        assert rows_of(old) == before
        run = uuid.uuid4()
        number = record(
            old,
            Event(Kind.ATTEMPT, {"why": "locks"}, version="2", outcome=Outcome.NOT_NOW, run=run),
        )
        *first, newest = read_entries(old)
        assert [(entry.kind, entry.tool, entry.client_address) for entry in first] == [
            (Kind.ADOPT, None, None),
            (Kind.DEPLOY, None, None),
        ]
        assert (newest.id, newest.kind, newest.outcome, newest.run) == (
            number,
            Kind.ATTEMPT,
            Outcome.NOT_NOW,
            run,
        )
        assert newest.tool == tool()

    def test_brought_up_to_date_it_is_like_a_new_one(
        self, old: Connection, session_beside: Connection
    ) -> None:
        prepare_ledger(old)
        prepare_ledger(session_beside)
        assert shape_of(old) == shape_of(session_beside)

    def test_two_that_do_it_at_once_both_find_it_done(
        self, empty_database: Database, old: Connection
    ) -> None:
        first, watcher = empty_database.connect(), empty_database.connect(autocommit=True)
        prepare_ledger(first)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(prepare_ledger, old)
            wait_until_blocked(watcher, old.info.backend_pid)
            first.commit()
            waiting.result(timeout=20)
        assert ledger_version(old) == NEWEST

    def test_one_that_is_broken_off_is_as_it_was(self, old: Connection) -> None:
        before = shape_of(old)
        with old.transaction(force_rollback=True):
            prepare_ledger(old)
        assert (shape_of(old), ledger_version(old)) == (before, 1)

    def test_a_newer_one_is_refused_and_left_alone(self, session: Connection) -> None:
        session.execute(
            "insert into pymilk.ledger_versions (version, person, tool) values (%s, 'x', '9.0')",
            (NEWEST + 1,),
        )
        before = shape_of(session)
        for work in (prepare_ledger, read_entries):
            with pytest.raises(Problem, match="A newer pymilk has been here") as refused:
                work(session)
            assert refused.value.state == "Nothing was changed."
        assert shape_of(session) == before

    def test_its_versions_are_append_only_too(self, session: Connection) -> None:
        for statement in (
            "update pymilk.ledger_versions set version = 1",
            "delete from pymilk.ledger_versions",
            "truncate pymilk.ledger_versions",
        ):
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                session.execute(statement)
        assert ledger_version(session) == NEWEST


@pytest.mark.parametrize(
    "event",
    [
        Event(Kind.DEPLOY, {}, outcome=Outcome.FAILED),
        Event(Kind.ATTEMPT, {}),
        Event(Kind.STEP, {}, outcome=Outcome.BEGUN),
        Event(Kind.DEPLOY, {}, step=1),
        Event(Kind.DEPLOY, {}, answers=1),
    ],
)
def test_what_says_nothing_is_not_recorded(session: Connection, event: Event) -> None:
    record(session, deploy_of("1"))
    with pytest.raises(psycopg.errors.CheckViolation):
        record(session, event)


def test_what_came_to_nothing_is_no_deploy(session: Connection) -> None:
    record(session, deploy_of("1"))
    record(session, Event(Kind.ATTEMPT, {}, version="1", outcome=Outcome.REFUSED))
    newest = latest(read_entries(session), Kind.DEPLOY, version="1")
    assert newest is not None
    assert newest.id == 1


def test_everything_in_it_is_explained(session: Connection) -> None:
    unexplained = session.execute(
        "select c.relname from pg_class as c where c.relnamespace = 'pymilk'::regnamespace"
        " and c.relkind = 'r' and obj_description(c.oid, 'pg_class') is null"
    ).fetchall()
    assert unexplained == []


def rows_of(connection: Connection) -> list[object]:
    """Every row of the first ledger, by the columns that it had."""
    events = (
        "id, token, kind, version, name, happened_at, person, database_role, revision, checksum,"
        " catalog_before, catalog_after, evidence"
    )
    return [
        connection.execute(f"select {columns} from pymilk.{table} order by 1").fetchall()
        for table, columns in (("events", events), ("catalogs", "*"), ("archives", "*"))
    ]


def shape_of(connection: Connection) -> object:
    """Columns, constraints, triggers, indexes and comments of the schema, by name."""
    return connection.execute(
        """
        select 'column ' || a.attrelid::regclass || '.' || a.attname,
          format_type(a.atttypid, a.atttypmod) || a.attnotnull
            || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
            || coalesce(col_description(a.attrelid, a.attnum), '')
        from pg_attribute as a inner join pg_class as c on a.attrelid = c.oid
        left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where c.relnamespace = 'pymilk'::regnamespace and c.relkind = 'r' and a.attnum > 0
        union all
        select 'constraint ' || conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
        from pg_constraint where connamespace = 'pymilk'::regnamespace
        union all
        select 'trigger ' || tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid)
        from pg_trigger where tgrelid in (select oid from pg_class
          where relnamespace = 'pymilk'::regnamespace) and not tgisinternal
        union all
        select 'grants ' || c.relname, coalesce(c.relacl::text, '')
        from pg_class as c where c.relnamespace = 'pymilk'::regnamespace
        order by 1
        """
    ).fetchall()
