"""Our ledger in the target database: what was done, by whom, on what proof."""

import getpass
import json
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from importlib import resources
from typing import Any

from psycopg.types.json import Jsonb

from pymilk.database.catalog import Catalog
from pymilk.database.connection import Connection

_DDL = resources.files("pymilk.database").joinpath("ledger.sql").read_text(encoding="utf-8")


class Kind(StrEnum):
    """What an event of the ledger is about."""

    ADOPT = "adopt"
    BACKUP = "backup"
    RESTORE_TEST = "restore-test"
    REHEARSAL = "rehearsal"
    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    NOTE = "note"


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
    """

    kind: Kind
    evidence: Mapping[str, object]
    version: str | None = None
    name: str | None = None
    revision: str | None = None
    checksum: str | None = None
    before: Catalog | None = None
    after: Catalog | None = None


@dataclass(frozen=True)
class Entry:
    """One row as it stands in the ledger; the fields are those of `Event` and who and when."""

    kind: Kind
    happened_at: datetime
    person: str
    version: str | None
    name: str | None
    checksum: str | None
    before: str | None
    after: str | None
    evidence: Mapping[str, Any]


def prepare_ledger(connection: Connection) -> None:
    """Make the ledger where there is none; does nothing, and locks nothing, where it is."""
    if not ledger_exists(connection):
        with connection.transaction():
            # Two at once: the second waits here, and then finds everything there.
            connection.execute("select pg_advisory_xact_lock(hashtext('pymilk ledger'))")
            connection.execute(_DDL)


def ledger_exists(connection: Connection) -> bool:
    """Whether the ledger is there."""
    row = connection.execute("select to_regclass('pymilk.events') is not null").fetchone()
    return bool(row and row[0])


def record(connection: Connection, event: Event, token: uuid.UUID | None = None) -> None:
    """Add an event, in the caller's transaction.

    Args:
        connection: To the target.
        event: What happened.
        token: The name to ask for it by afterwards, should the connection be lost at commit.
    """
    for catalog in (event.before, event.after):
        if catalog is not None:
            connection.execute(
                "insert into pymilk.catalogs (fingerprint, objects) values (%s, %s)"
                " on conflict (fingerprint) do nothing",
                (catalog.fingerprint, Jsonb(dict(catalog.objects))),
            )
    connection.execute(
        "insert into pymilk.events (token, kind, version, name, person, revision, checksum,"
        " catalog_before, catalog_after, evidence) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
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
        ),
    )


def read_entries(connection: Connection) -> tuple[Entry, ...]:
    """Every event, oldest first; none where there is no ledger."""
    if not ledger_exists(connection):
        return ()
    rows = connection.execute(
        "select kind, happened_at, person, version, name, checksum, catalog_before,"
        " catalog_after, evidence from pymilk.events order by id"
    ).fetchall()
    return tuple(Entry(Kind(row[0]), *row[1:]) for row in rows)


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


def person() -> str:
    """Who runs this, and from where."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user on this machine, as in bare containers
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
