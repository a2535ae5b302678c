"""Our ledger in the target database: what was done, by whom, on what proof."""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NoReturn

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from pymilk.database.catalog import Catalog
from pymilk.database.connection import Connection
from pymilk.database.ledger_version import prepare_ledger, readable_version, tool
from pymilk.database.person import person
from pymilk.database.recorded_catalog import record_catalogs

__all__ = [
    "Entry",
    "Event",
    "Kind",
    "Outcome",
    "by_version",
    "happened",
    "is_held",
    "latest",
    "ledger_exists",
    "person",
    "prepare_ledger",
    "read_entries",
    "read_recorded_catalog",
    "record",
    "whole",
]


class Kind(StrEnum):
    """What an event of the ledger is about.

    What came to nothing is an `ATTEMPT`, never a deploy: whoever reads that something was deployed
    can rely on it. A `BREACH` is what a watch found broken that held before the deploy, and what
    was done about it; the samples around it are in a table of their own.
    """

    ADOPT = "adopt"
    BACKUP = "backup"
    RESTORE_TEST = "restore-test"
    REHEARSAL = "rehearsal"
    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    NOTE = "note"
    ATTEMPT = "attempt"
    STEP = "step"
    RESTORE = "restore"
    BREACH = "breach"
    AFTER = "after"


class Outcome(StrEnum):
    """How it came out: `DONE`, but for attempts, and for steps that are begun before they end."""

    DONE = "done"
    BEGUN = "begun"
    REFUSED = "refused"
    FAILED = "failed"
    NOT_NOW = "not-now"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Event:
    """One row to add.

    Attributes:
        kind: What happened.
        evidence: The proof, as JSON.
        version: Of which migration, where it concerns one.
        name: Its name.
        revision: The git commit of the project's files.
        checksum: SHA-256 of the migration's text.
        before: The schema before.
        after: The schema after.
        outcome: How an attempt or a step came out.
        run: What the events of one run of the tool have in common.
        plan_hash: The plan that was approved.
        step: Which statement of a file that can't be one transaction, from 1.
        answers: The id of the note that this note answers.
    """

    kind: Kind
    evidence: Mapping[str, object]
    version: str | None = None
    name: str | None = None
    revision: str | None = None
    checksum: str | None = None
    before: Catalog | None = None
    after: Catalog | None = None
    outcome: Outcome = Outcome.DONE
    run: uuid.UUID | None = None
    plan_hash: str | None = None
    step: int | None = None
    answers: int | None = None


# What these prove can be large (scripts, figures of every customer), and there are hundreds.
_LARGE = (Kind.DEPLOY, Kind.ROLLBACK, Kind.REHEARSAL, Kind.AFTER)


class _NotRead(Mapping[str, Any]):
    """Evidence that was left in the database: to ask for it is a mistake, not an empty answer."""

    def __getitem__(self, key: str) -> NoReturn:
        raise AssertionError(f"the evidence was not read, {key} neither: whole() reads it")

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the evidence was not read: whole() reads it")

    def __len__(self) -> int:
        raise AssertionError("the evidence was not read: whole() reads it")


_NOT_READ = _NotRead()


@dataclass(frozen=True)
class Entry:
    """One row as it stands in the ledger; the fields are those of `Event` and who and when.

    Attributes:
        id: Its number.
        evidence: The proof; of deploys, rollbacks, rehearsals and what came after only where
            `whole` has read it.
        database_role: As whom the tool was connected.
        client_address: From where, as the server saw it; none through a socket.
        tool: Which pymilk wrote it; none from before it was written down.
    """

    id: int
    kind: Kind
    happened_at: datetime
    person: str
    version: str | None
    name: str | None
    checksum: str | None
    before: str | None
    after: str | None
    evidence: Mapping[str, Any] = field(repr=False)
    revision: str | None
    database_role: str
    outcome: Outcome
    run: uuid.UUID | None
    plan_hash: str | None
    step: int | None
    answers: int | None
    tool: str | None
    client_address: str | None


def ledger_exists(connection: Connection) -> bool:
    """Whether the ledger is there."""
    row = connection.execute("select to_regclass('pymilk.events') is not null").fetchone()
    return bool(row and row[0])


def record(connection: Connection, event: Event, token: uuid.UUID | None = None) -> int:
    """Add an event, in the caller's transaction; gives its number.

    Args:
        connection: To the target.
        event: What happened.
        token: The name to ask for it by afterwards, should the connection be lost at commit.
    """
    record_catalogs(connection, [one for one in (event.before, event.after) if one is not None])
    row = connection.execute(
        "insert into pymilk.events (token, kind, version, name, person, revision, checksum,"
        " catalog_before, catalog_after, evidence, outcome, run, plan_hash, step, answers, tool)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning id",
        (
            token or uuid.uuid4(),
            event.kind,
            event.version,
            event.name,
            person(),
            event.revision,
            event.checksum,
            event.before.fingerprint if event.before else None,
            event.after.fingerprint if event.after else None,
            Jsonb(event.evidence, dumps=lambda value: json.dumps(value, default=str)),
            event.outcome,
            event.run,
            event.plan_hash,
            event.step,
            event.answers,
            tool(),
        ),
    ).fetchone()
    return int(row[0]) if row else 0


_COLUMNS = (
    "id, kind, happened_at, person, version, name, checksum, catalog_before as before,"
    " catalog_after as after, revision, database_role,"
    " case when kind <> all(%(large)s) then evidence end as evidence"
)
_SINCE_SECOND_VERSION = (
    "outcome, run, plan_hash, step, answers, tool, host(client_address) as client_address"
)
# In a ledger that nobody has brought up to date yet; looking at it doesn't.
_BEFORE_SECOND_VERSION = (
    "'done' as outcome, null as run, null as plan_hash, null as step, null as answers,"
    " null as tool, null as client_address"
)


def read_entries(connection: Connection, version: str | None = None) -> tuple[Entry, ...]:
    """Every event, oldest first, or every one of a migration; none where there is no ledger.

    What deploys, rollbacks and rehearsals prove stays where it is; `whole` reads it, of one.

    Raises:
        Problem: The ledger was made by a newer pymilk.
    """
    ledger = readable_version(connection)
    if ledger == 0:
        return ()
    more = _SINCE_SECOND_VERSION if ledger > 1 else _BEFORE_SECOND_VERSION
    rows = connection.cursor(row_factory=dict_row).execute(
        f"select {_COLUMNS}, {more} from pymilk.events"  # noqa: S608 - constants
        " where %(version)s::text is null or version = %(version)s order by id",
        {"large": list(_LARGE), "version": version},
    )
    return tuple(
        Entry(
            **{
                **row,
                "kind": Kind(row["kind"]),
                "outcome": Outcome(row["outcome"]),
                "evidence": _NOT_READ if row["evidence"] is None else row["evidence"],
            }
        )
        for row in rows
    )


def whole(connection: Connection, entry: Entry) -> Entry:
    """The entry with its evidence.

    Raises:
        LookupError: The ledger has no such entry.
    """
    if entry.evidence is not _NOT_READ:
        return entry
    row = connection.execute(
        "select evidence from pymilk.events where id = %s", (entry.id,)
    ).fetchone()
    if row is None:
        raise LookupError(entry.id)
    return replace(entry, evidence=row[0])


def read_recorded_catalog(connection: Connection, fingerprint: str) -> Catalog:
    """A schema as it was recorded.

    Raises:
        LookupError: The ledger has none with that fingerprint.
    """
    row = connection.execute(
        "select objects from pymilk.catalogs where fingerprint = %s", (fingerprint,)
    ).fetchone()
    if row is None:
        raise LookupError(fingerprint)
    return Catalog(row[0])


def happened(connection: Connection, token: uuid.UUID) -> bool:
    """Whether the event with that token was committed."""
    if not ledger_exists(connection):
        return False
    row = connection.execute("select 1 from pymilk.events where token = %s", (token,)).fetchone()
    return row is not None


def by_version(entries: Iterable[Entry]) -> Mapping[str, tuple[Entry, ...]]:
    """Each migration's events, oldest first: to ask about each without going through all."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.version is not None:
            found.setdefault(entry.version, []).append(entry)
    return {version: tuple(of_one) for version, of_one in found.items()}


def latest(entries: tuple[Entry, ...], *kinds: Kind, version: str | None = None) -> Entry | None:
    """The newest entry of some kinds, of one migration when a version is given."""
    for entry in reversed(entries):
        if entry.kind in kinds and (version is None or entry.version == version):
            return entry
    return None


def is_held(entries: tuple[Entry, ...], version: str) -> bool:
    """Whether a migration was rolled back and not deployed since.

    The Supabase CLI would apply it again at its next push; we don't until it is named.
    """
    newest = latest(entries, Kind.DEPLOY, Kind.ROLLBACK, version=version)
    return newest is not None and newest.kind is Kind.ROLLBACK
