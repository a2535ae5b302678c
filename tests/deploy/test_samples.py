"""What a watch saw comes back from the ledger as it was written, and stays."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from pymilk.database.connection import Connection
from pymilk.database.ledger import Event, Kind, prepare_ledger, read_entries, record
from pymilk.deploy.basis.sample import Activity, Broken, Sample, Waits
from pymilk.deploy.health.samples import between, read_moments, read_samples, record_sample
from support.databases import Database

NOON = datetime(2025, 9, 17, 12, tzinfo=UTC)
QUIET = Sample(NOON, 0.02, {"overpaid": 0.001})
FULL = Sample(
    taken_at=NOON + timedelta(minutes=1),
    held_seconds=0.5,
    invariants={"overpaid": 0.25},
    failed={"other": "no such column"},
    broken=(Broken("overpaid", 3, 1, (("bill", "4", "ü"), ("bill", "1", "x"))),),
    passing=("overpaid: bill, 7",),
    outcomes={"refused": {"allocate: PT409": 4}},
    activity=Activity(100, 3, 0, NOON, 1000, 1.5, None, None),
    waits=Waits(2, 1.5, ("psql",)),
    times={"route_sheet": 0.01},
    times_before={"route_sheet": 0.008},
    warnings=("slow",),
    lacking={"track_functions": "it is off"},
    baseline={"overpaid": (("bill", "1"),)},
)


@pytest.fixture
def session(empty_database: Database) -> Connection:
    connection = empty_database.connect(autocommit=True)
    prepare_ledger(connection)
    return connection


def test_samples_come_back_as_they_were_taken(session: Connection) -> None:
    deploy, watch = record(session, Event(Kind.DEPLOY, {}, version="2")), uuid.uuid4()
    record_sample(session, QUIET, None, watch)
    for sample in (QUIET, FULL):
        record_sample(session, sample, deploy, watch)
    (before,) = read_samples(session, None)
    taken = read_samples(session, deploy)
    assert before.sample == QUIET
    assert [found.sample for found in taken] == [QUIET, FULL]
    assert {found.watch for found in taken} == {watch}
    assert [found.sample for found in read_samples(session, deploy, last=1)] == [FULL]
    assert [(moment.taken_at, moment.breach) for moment in read_moments(session, deploy)] == [
        (QUIET.taken_at, False),
        (FULL.taken_at, True),
    ]
    assert [entry.kind for entry in read_entries(session)] == [Kind.DEPLOY]


@pytest.mark.parametrize(
    "statement",
    [
        "update pymilk.samples set breach = false",
        "delete from pymilk.samples",
        "truncate pymilk.samples",
    ],
)
def test_samples_are_append_only(session: Connection, statement: str) -> None:
    record_sample(session, FULL, None, uuid.uuid4())
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        session.execute(statement)
    assert len(read_samples(session, None)) == 1


def test_the_api_cannot_reach_samples(empty_database: Database, session: Connection) -> None:
    record_sample(session, FULL, None, uuid.uuid4())
    for role in ("anon", "authenticated", "service_role"):
        api = empty_database.connect(role=role, autocommit=True)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute("select from pymilk.samples")


def test_a_ledger_from_before_samples_has_none(empty_database: Database) -> None:
    connection = empty_database.connect(autocommit=True)
    assert read_samples(connection, None) == ()
    assert read_moments(connection, 1) == ()


def test_counters_are_compared_while_they_count_the_same() -> None:
    earlier = Activity(100, 3, 0, NOON, 1000, 1.5)
    later = replace(earlier, commits=150, rollbacks=4, statements=1100, statement_seconds=2.0)
    assert between(earlier, later) == Activity(50, 1, 0, NOON, 100, 0.5)
    assert between(None, later) is None
    assert between(earlier, replace(later, counted_since=NOON + timedelta(hours=1))) is None
    assert between(later, earlier) is None
