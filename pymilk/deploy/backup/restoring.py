"""`restore`: a backup becomes a database again, a new one; nothing is written over."""

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from psycopg import sql

from pymilk.database.connection import Connection, Target, connect
from pymilk.database.embedded import EmbeddedServer
from pymilk.database.ledger import Event, Kind
from pymilk.database.lookalike import DefaultPrivileges, make_supabase_shaped
from pymilk.database.manifest import Backup, read_backup
from pymilk.database.meter import UNWATCHED, Meter, phase
from pymilk.database.programs import Programs
from pymilk.database.restore import compare, make_public_anew, restore
from pymilk.database.restore_new import Restored, restore_into_new
from pymilk.database.services import stand_in_for_services
from pymilk.deploy.backup.backup import record_if_adopted
from pymilk.deploy.backup.shelf import Proof, proof_of
from pymilk.problem import Problem
from pymilk.project.policy import Preset

_UNFINISHED = "restoring_"


@dataclass(frozen=True)
class Reborn:
    """A backup that is a database again.

    Attributes:
        backup: What was restored.
        label: Where, without a password.
        url: How to connect, where it is ours to tell: on the embedded server.
        seconds: From the first look at the backup to the last comparison.
        differences: Objects of the schema that aren't as they were.
        left: What this role may not make.
        lacking: Extensions that aren't there as the backup has them.
        proven: When a restore of it had been proven before, if ever.
    """

    backup: Backup
    label: str
    url: str
    seconds: float
    differences: tuple[str, ...]
    left: tuple[str, ...]
    lacking: tuple[str, ...]
    proven: Proof | None


def restore_at(
    folder: Path, target: Target, programs: Programs, meter: Meter = UNWATCHED
) -> Reborn:
    """Restore a backup into an empty database that somebody names: a new project's.

    Raises:
        Problem: It isn't empty, or the restore failed; it is as empty as before.
    """
    started = time.monotonic()
    with phase(meter, "checksums"):
        backup = read_backup(folder)
    restored = restore_into_new(backup, target.url, programs, meter)
    reborn = Reborn(
        backup,
        target.label,
        "",
        time.monotonic() - started,
        restored.compared.objects.sentences(),
        restored.left,
        restored.lacking,
        proof_of(folder),
    )
    record_if_adopted(target, Event(Kind.RESTORE, _facts(reborn)))
    return reborn


def restore_on_embedded(
    folder: Path, server: EmbeddedServer, programs: Programs, meter: Meter = UNWATCHED
) -> Reborn:
    """Restore a backup into a new database of the embedded server.

    It has its name only once everything in it is compared.

    Raises:
        Problem: The restore failed; no database is left.
    """
    started = time.monotonic()
    with phase(meter, "checksums"):
        backup = read_backup(folder)
    administer = server.url(user="supabase_admin")
    unfinished = f"{_UNFINISHED}{secrets.token_hex(4)}"
    name = f"restored_{datetime.now(UTC):%Y%m%d_%H%M%S}"
    with connect(administer, purpose="restore") as connection:
        _drop_unfinished(connection)
        connection.execute(
            sql.SQL("create database {} template template0 owner postgres").format(
                sql.Identifier(unfinished)
            )
        )
        try:
            url = server.url(unfinished, "supabase_admin")
            make_supabase_shaped(url, privileges=DefaultPrivileges.CLOSED)
            if backup.is_of_others:
                make_public_anew(url)
                stand_in_for_services(url)
                restored = restore_into_new(backup, server.url(unfinished), programs, meter)
            else:
                restore(backup, url, programs, meter)
                restored = _compared(backup, server.url(unfinished), meter)
            connection.execute(
                sql.SQL("alter database {} rename to {}").format(
                    sql.Identifier(unfinished), sql.Identifier(name)
                )
            )
        finally:
            connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(
                    sql.Identifier(unfinished)
                )
            )
    target = Target(server.url(name), Preset.LOCAL)
    reborn = Reborn(
        backup,
        target.label,
        target.url,
        time.monotonic() - started,
        restored.compared.objects.sentences(),
        restored.left,
        restored.lacking,
        proof_of(folder),
    )
    record_if_adopted(target, Event(Kind.RESTORE, _facts(reborn)))
    return reborn


def _compared(backup: Backup, owner_url: str, meter: Meter) -> Restored:
    with phase(meter, "comparing"), connect(owner_url, purpose="restore") as connection:
        compared = compare(backup, connection)
        connection.execute("analyze")
    if compared.rows_differ:
        raise _not_equal(backup, compared.rows_differ)
    return Restored(compared, (), ())


def _drop_unfinished(connection: Connection) -> None:
    """What restores that were killed have left: half a database, and nobody in it."""
    rows = connection.execute(
        "select d.datname from pg_database as d where starts_with(d.datname, %s)"
        " and not exists (select from pg_stat_activity as a where a.datid = d.oid)",
        (_UNFINISHED,),
    ).fetchall()
    for (name,) in rows:
        connection.execute(sql.SQL("drop database {}").format(sql.Identifier(str(name))))


def _not_equal(backup: Backup, how: tuple[str, ...]) -> Problem:
    return Problem(
        f"The backup {backup.folder.name} doesn't come back as it was: {'; '.join(how[:5])}",
        state="No database was left.",
        todo="Use an older one: pymilk restore BACKUP",
    )


def _facts(reborn: Reborn) -> dict[str, object]:
    return {
        "folder": reborn.backup.folder.name,
        "taken_from": reborn.backup.taken_from,
        "taken_at": reborn.backup.taken_at.isoformat(),
        "rows": reborn.backup.rows,
        "seconds": reborn.seconds,
        "differences": reborn.differences,
        "left": reborn.left,
        "lacking": reborn.lacking,
    }
