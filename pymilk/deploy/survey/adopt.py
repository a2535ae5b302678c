"""Take a database into care: compare it with the files, then mark what it has; nothing else.

A database that has tables and no history is compared with what the first migrations make. Where
there are no migrations, the live schema is written down as the first one. A database whose history
the Supabase CLI has kept is compared with the files of that history. An empty one has nothing to be
marked: its ledger is begun, and the first migration is deployed like any other.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from pymilk.database.catalog import Catalog, read_catalog
from pymilk.database.connection import Connection, Target
from pymilk.database.embedded import EmbeddedServer, scratch
from pymilk.database.history import Applied, prepare_history, read_history, record_applied
from pymilk.database.ledger import Event, Kind, latest, prepare_ledger, read_entries, record
from pymilk.database.lookalike import DefaultPrivileges
from pymilk.database.programs import find_programs
from pymilk.deploy.basis.lock import only_deploy
from pymilk.deploy.change.replay import empty_project, likely_privileges, replay_one
from pymilk.deploy.change.script import ScriptFailed
from pymilk.deploy.survey.baseline import baseline_text
from pymilk.deploy.survey.checks import owner_check, session_check
from pymilk.deploy.survey.preflight import named, refuse_failed
from pymilk.deploy.survey.status import was_edited
from pymilk.problem import Problem
from pymilk.project.migrations import Migration, Script
from pymilk.project.policy import Policy
from pymilk.project.project import Project
from pymilk.project.whole_file import write_whole


@dataclass(frozen=True)
class Adopted:
    """A database taken into care.

    Attributes:
        version: The newest migration that the database has; none where it is empty.
        name: Its name.
        objects: How many objects were compared.
        differences: Objects that differ, accepted with a reason.
        marked: The migrations that were marked as applied; none where the history had them all.
        written: The baseline that was written, from the project's folder.
    """

    version: str | None
    name: str | None
    objects: int
    differences: tuple[str, ...]
    marked: tuple[str, ...]
    written: str | None


@dataclass(frozen=True)
class _Found:
    """What of the project the database has, and how well that fits.

    Attributes:
        migrations: The files that fit best.
        differs: Objects that differ.
        told: How, in words.
        foreign: Whether the database has nothing at all of what these files make.
    """

    migrations: tuple[Migration, ...]
    differs: tuple[str, ...]
    told: str
    foreign: bool


Server = Callable[[], AbstractContextManager[EmbeddedServer]]


def adopt(
    project: Project,
    target: Target,
    policy: Policy,
    reason: str | None,
    replayed_on: Server = scratch,
) -> Adopted:
    """Compare the live schema with the files, and mark what it has when it is the same.

    Args:
        project: Whose migrations they are.
        target: The database.
        policy: How long to wait for another deploy.
        reason: Why differences are accepted, if they are.
        replayed_on: The server that files are replayed on.

    Raises:
        Problem: The schemas differ and no reason was given, or it is in care already.
    """
    with only_deploy(target, "adopt", policy.wait_for_other_deploy_seconds) as connection:
        history = read_history(connection)
        _refuse_adopted(connection)
        refuse_failed(
            (
                named("role", owner_check(connection)),
                named("session", session_check(connection, target.url)),
            )
        )
        live = read_catalog(connection)
        if not history and _is_empty(live):
            return _begin(connection, live)
        migrations, written = _migrations(project, target, connection)
        if history:
            _refuse_other_history(migrations, history)
        with replayed_on() as server:
            found = _compare(server, migrations, history, live, likely_privileges(connection))
        if found.differs and (found.foreign or not reason):
            raise _differs(found)
        if written is not None:
            written.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(written.path, written.text.encode())
        known = {row.version for row in history}
        marked = tuple(each for each in found.migrations if each.version not in known)
        _mark(connection, found, marked, live, reason)
    newest = found.migrations[-1]
    return Adopted(
        newest.version,
        newest.name,
        len(live.objects),
        found.differs,
        tuple(each.stem for each in marked),
        written.path.relative_to(project.root).as_posix() if written else None,
    )


def _refuse_adopted(connection: Connection) -> None:
    entry = latest(read_entries(connection), Kind.ADOPT, Kind.DEPLOY)
    if entry is not None:
        raise Problem(
            f"This database was adopted on {entry.happened_at:%Y-%m-%d %H:%M} UTC; there is"
            " nothing to adopt.",
            state="Nothing was changed.",
            todo="'pymilk status' shows it; deploying works from there.",
        )


# What there is before anybody has made anything.
_OF_THE_PLATFORM = ("default privileges ", "event trigger ", "schema public", "worded by Postgres")


def _is_empty(live: Catalog) -> bool:
    return all(name.startswith(_OF_THE_PLATFORM) for name in live.objects)


def _begin(connection: Connection, live: Catalog) -> Adopted:
    """Start the ledger: what is deployed from here on is compared with this empty schema."""
    with connection.transaction():
        prepare_ledger(connection)
        record(connection, Event(Kind.ADOPT, {"marked": [], "empty": True}, after=live))
    return Adopted(None, None, len(live.objects), (), (), None)


def _migrations(
    project: Project, target: Target, connection: Connection
) -> tuple[tuple[Migration, ...], Script | None]:
    """The project's migrations, or a baseline that is to be written as the first of them."""
    folder = project.root / "supabase" / "migrations"
    if folder.is_dir() and project.migrations:
        return project.migrations, None
    version = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    text = baseline_text(connection, target.url, find_programs())
    written = Script(folder / f"{version}_baseline.sql", text)
    return (Migration(version, "baseline", written, None, None),), written


def _refuse_other_history(migrations: tuple[Migration, ...], history: tuple[Applied, ...]) -> None:
    """Refuse a history that isn't the one of the files."""
    files = {migration.version: migration for migration in migrations}
    unknown = [f"{row.version}_{row.name}" for row in history if row.version not in files]
    edited = [
        files[row.version].stem
        for row in history
        if row.version in files and was_edited(files[row.version], row, ())
    ]
    if unknown:
        raise Problem(
            f"Applied in the database, but not among the files here: {', '.join(unknown)}.",
            state="Nothing was changed.",
            todo="Fetch the files (git pull; or supabase migration fetch, which writes them from"
            " the history).",
        )
    if edited:
        raise Problem(
            f"Files say something else than what was applied: {', '.join(edited)}.",
            state="Nothing was changed.",
            todo="Take the edits back, and put what they change into new migrations.",
        )


def _compare(
    server: EmbeddedServer,
    migrations: tuple[Migration, ...],
    history: tuple[Applied, ...],
    live: Catalog,
    privileges: tuple[DefaultPrivileges, ...],
) -> _Found:
    """Replay the files until they make the live schema, with either variant of privileges."""
    applied = {row.version for row in history}
    chosen = tuple(each for each in migrations if each.version in applied) or migrations
    # What is applied is known from a history; without one, it is as much as fits.
    first = len(chosen) if applied else 1
    found: list[_Found] = []
    for variant in privileges:
        with empty_project(server, variant) as connection:
            found += _prefixes(connection, chosen, first, live)
        if not found[-1].differs:
            break
    return min(found, key=lambda each: len(each.differs))


def _prefixes(
    connection: Connection, migrations: tuple[Migration, ...], first: int, live: Catalog
) -> Iterator[_Found]:
    """How well the first migrations fit, one more each time, until they do."""
    empty = read_catalog(connection)
    for number, migration in enumerate(migrations, 1):
        try:
            replay_one(connection, migration.up)
        except ScriptFailed:
            if number <= first:
                raise
            return  # one that waits; what comes before it has been compared
        if number >= first:
            found = _found(migrations[:number], empty, read_catalog(connection), live)
            yield found
            if not found.differs:
                return


def _found(
    migrations: tuple[Migration, ...], empty: Catalog, made: Catalog, live: Catalog
) -> _Found:
    of_the_files = made.objects.keys() - empty.objects.keys()
    difference = made.difference(live)
    told = ""
    if difference:
        text = made.text_difference(live, min(difference.names))
        told = "; ".join(difference.sentences()) + f"\n{text}"
    foreign = bool(of_the_files) and not of_the_files & live.objects.keys()
    return _Found(migrations, tuple(sorted(difference.names)), told, foreign)


def _differs(found: _Found) -> Problem:
    newest = found.migrations[-1].stem
    first = len(found.migrations) == 1
    return Problem(
        f"The live schema isn't {'the baseline ' if first else 'what the files make up to '}"
        f"{newest}: {found.told}",
        state="Nothing was changed.",
        # Marked as applied, such a file would never be run.
        todo="The database has nothing of what that file makes. Move the files out of"
        " supabase/migrations and run 'pymilk adopt': it writes down what is live as the first one."
        " Then bring them back, with later versions."
        if found.foreign
        else "Make the file say what is live. Or accept the difference:"
        " --override drift='your reason'.",
    )


def _mark(
    connection: Connection,
    found: _Found,
    marked: tuple[Migration, ...],
    live: Catalog,
    reason: str | None,
) -> None:
    newest = found.migrations[-1]
    event = Event(
        Kind.ADOPT,
        {
            "differences": found.differs,
            "reason": reason,
            "marked": [each.stem for each in marked],
        },
        version=newest.version,
        name=newest.name,
        checksum=newest.up.checksum,
        after=live,
    )
    with connection.transaction():
        if marked:
            prepare_history(connection)
        prepare_ledger(connection)
        for migration in marked:
            record_applied(connection, migration)
        record(connection, event)
