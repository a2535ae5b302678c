"""Does the live schema say what the files say? Every object that differs, and which side moved.

Three schemas are compared: the live one; the one that the applied migrations made, as they were
when they were applied; and the one that the files make now. Where the first two differ, somebody
changed the database by hand. Where the last two do, a file moved, or waits to be deployed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pymilk.database.catalog import Catalog, Difference, read_catalog
from pymilk.database.connection import Target, connect
from pymilk.database.embedded import EmbeddedServer, scratch
from pymilk.database.history import Applied, read_history
from pymilk.database.ledger import Entry, Kind, latest, read_entries, read_recorded_catalog, whole
from pymilk.database.lookalike import DefaultPrivileges
from pymilk.deploy.change.replay import empty_project, likely_privileges, replay, replay_one
from pymilk.deploy.change.script import ScriptFailed
from pymilk.deploy.survey.status import was_edited
from pymilk.project.migrations import Migration, Script
from pymilk.project.project import Project


class Side(StrEnum):
    """Who is ahead of whom."""

    DATABASE = "database ahead: changed by hand"
    EDITED = "file ahead: edited after it was applied"
    PENDING = "file ahead: not deployed yet"
    NO_FILE = "database ahead: applied, but no file here"


@dataclass(frozen=True)
class Moved:
    """One object that isn't the same on both sides.

    Attributes:
        name: Kind and name, `function public.pay_bill(integer, numeric)`.
        side: Who is ahead.
        how: `+` when it is there on the side that is ahead alone, `-` when it is gone there, `~`
            when it says something else.
        text: The difference of the definitions, from the side that is behind to the one ahead.
        file: The migration that makes the difference, where a file is ahead.
        accepted: Why that is no drift: the reason that was given when the ledger recorded it.
    """

    name: str
    side: Side
    how: str
    text: str
    file: str | None = None
    accepted: str | None = None

    @property
    def is_drift(self) -> bool:
        """Whether somebody has to do something about it; what waits to be deployed is none."""
        return self.side is not Side.PENDING and self.accepted is None


@dataclass(frozen=True)
class Drift:
    """What a comparison of live schema and files found.

    Attributes:
        objects: How many live objects were compared.
        moved: Those that differ.
        notes: What limits what can be said.
    """

    objects: int
    moved: tuple[Moved, ...]
    notes: tuple[str, ...]

    @property
    def found(self) -> tuple[Moved, ...]:
        """What is drift: what was changed by hand, and files that say something else by now."""
        return tuple(moved for moved in self.moved if moved.is_drift)


@dataclass(frozen=True)
class _Live:
    """What was read from the live database, once."""

    catalog: Catalog
    history: tuple[Applied, ...]
    entries: tuple[Entry, ...]
    privileges: tuple[DefaultPrivileges, ...]
    major: int
    accepted: Mapping[str, str]


@dataclass(frozen=True)
class _Files:
    """The schemas that the files make."""

    as_applied: Catalog
    as_now: Catalog
    pending: tuple[tuple[Migration, Catalog], ...]
    notes: tuple[str, ...]


def find_drift(project: Project, target: Target) -> Drift:
    """Compare the live schema with what the files make on a scratch server; changes nothing.

    Raises:
        ScriptFailed: A file that is applied can't be replayed.
        Problem: The database can't be reached.
    """
    with scratch() as server:
        return drift_on(server, project, target)


def drift_on(server: EmbeddedServer, project: Project, target: Target) -> Drift:
    """The same, on a scratch server that is there already."""
    live = _read(target)
    files = _replayed(server, project, live)
    return Drift(
        len(live.catalog.objects),
        (*_by_hand(files.as_applied, live), *_edited(project, live, files), *_pending(files)),
        files.notes,
    )


def _read(target: Target) -> _Live:
    with connect(target.url, purpose="drift") as connection:
        entries = read_entries(connection)
        catalog = read_catalog(connection)
        recorded = latest(entries, Kind.DEPLOY, Kind.ROLLBACK, Kind.ADOPT)
        known = (
            read_recorded_catalog(connection, recorded.after)
            if recorded and recorded.after
            else Catalog({})
        )
        reasons = {
            name: reason
            for entry in entries
            if entry.kind in {Kind.ADOPT, Kind.ROLLBACK}
            for name, reason in _accepted(whole(connection, entry))
            # Changed once more since, nobody has accepted it.
            if known.objects.get(name) == catalog.objects.get(name)
        }
        return _Live(
            catalog,
            read_history(connection),
            entries,
            likely_privileges(connection),
            connection.info.server_version // 10000,
            reasons,
        )


def _accepted(entry: Entry) -> Iterator[tuple[str, str]]:
    """Objects whose difference somebody accepted with a reason, when adopting or rolling back."""
    overrides = entry.evidence.get("overrides") or {}
    reason = entry.evidence.get("reason") or overrides.get("drift")
    if reason:
        for name in (*entry.evidence.get("differences", ()), *entry.evidence.get("drift", ())):
            yield name, f"{reason} ({entry.kind} {entry.id})"


def _replayed(server: EmbeddedServer, project: Project, live: _Live) -> _Files:
    """The schemas that the files make, with those default privileges that fit the live one best."""
    likely, other = live.privileges
    first = _replay(server, likely, project, live)
    if not first.as_applied.difference(live.catalog):
        return first
    second = _replay(server, other, project, live)
    distance = [len(found.as_applied.difference(live.catalog).names) for found in (first, second)]
    return first if distance[0] <= distance[1] else second


def _replay(
    server: EmbeddedServer, privileges: DefaultPrivileges, project: Project, live: _Live
) -> _Files:
    applied = {row.version for row in live.history}
    files = {migration.version: migration for migration in project.migrations}
    notes = [
        f"{row.version}_{row.name} is applied, and neither its file nor its text is here: what it"
        " made counts as made by hand"
        for row in live.history
        if row.version not in files and not row.statements
    ]
    now = [migration for version, migration in files.items() if version in applied]
    then = [_as_applied(row, files.get(row.version), live.entries) for row in live.history]
    with empty_project(server, privileges) as connection:
        as_now = replay(connection, (migration.up for migration in now))
        pending = []
        for migration in project.migrations:
            if migration.version in applied:
                continue
            try:
                replay_one(connection, migration.up)
            except ScriptFailed as problem:
                notes.append(f"what waits can't be compared from here on: {problem.happened}")
                break
            pending.append((migration, read_catalog(connection)))
        if connection.info.server_version // 10000 != live.major:
            notes.append(
                f"the live server is Postgres {live.major} and the scratch server another major:"
                " the text of views can't be compared"
            )
    if [script.text for script in then] == [migration.up.text for migration in now]:
        return _Files(as_now, as_now, tuple(pending), tuple(notes))
    with empty_project(server, privileges) as connection:
        as_applied = replay(connection, then)
    return _Files(as_applied, as_now, tuple(pending), tuple(notes))


def _as_applied(row: Applied, file: Migration | None, entries: tuple[Entry, ...]) -> Script:
    """The text that was applied: the file's, unless it was edited since or isn't here."""
    if file is not None and not (row.statements and was_edited(file, row, entries)):
        return file.up
    path = file.up.path if file else Path("migrations") / f"{row.version}_{row.name}.sql"
    return Script(path, "".join(f"{statement}\n;\n" for statement in row.statements))


def _by_hand(expected: Catalog, live: _Live) -> Iterator[Moved]:
    for how, name in _each(expected.difference(live.catalog)):
        text = expected.text_difference(live.catalog, name)
        yield Moved(name, Side.DATABASE, how, text, accepted=live.accepted.get(name))


def _edited(project: Project, live: _Live, files: _Files) -> Iterator[Moved]:
    by_version = {migration.version: migration for migration in project.migrations}
    edited = ", ".join(
        by_version[row.version].stem
        for row in live.history
        if row.version in by_version and was_edited(by_version[row.version], row, live.entries)
    )
    side = Side.EDITED if edited else Side.NO_FILE
    for how, name in _each(files.as_applied.difference(files.as_now)):
        text = files.as_applied.text_difference(files.as_now, name)
        yield Moved(name, side, how, text, edited or None)


def _pending(files: _Files) -> Iterator[Moved]:
    before = files.as_now
    for migration, after in files.pending:
        for how, name in _each(before.difference(after)):
            text = before.text_difference(after, name)
            yield Moved(name, Side.PENDING, how, text, migration.stem)
        before = after


def _each(difference: Difference) -> Iterable[tuple[str, str]]:
    yield from (("+", name) for name in difference.appeared)
    yield from (("-", name) for name in difference.vanished)
    yield from (("~", name) for name in difference.changed)
