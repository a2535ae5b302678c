"""One deployment, from its proof to its end, as the ledger tells it.

A rehearsal that nothing followed is told in the same way: it is a deployment as far as it went.
"""

from dataclasses import dataclass, field, replace
from itertools import takewhile

from pymilk.database.catalog import Difference
from pymilk.database.connection import Connection, Target, connect
from pymilk.database.ledger import (
    Entry,
    Kind,
    latest,
    read_entries,
    read_recorded_catalog,
    whole,
)
from pymilk.deploy.basis.notes import open_notes
from pymilk.deploy.health.samples import Taken, read_samples
from pymilk.problem import Problem, UsageProblem
from pymilk.project.migrations import Migration, find_migration
from pymilk.project.project import Project
from pymilk.report.facts import (
    AfterFacts,
    BackupFacts,
    BreachFacts,
    DeployFacts,
    RehearsalFacts,
    RestoreTestFacts,
    RollbackFacts,
    facts_of,
)
from pymilk.report.names import Names, read_names

_SUBJECTS = frozenset({Kind.DEPLOY, Kind.REHEARSAL})


@dataclass(frozen=True)
class Proof:
    """One step of the proof, as it was written down: the event, and what it found."""

    entry: Entry
    facts: BackupFacts | RestoreTestFacts | RehearsalFacts


@dataclass(frozen=True)
class Breach:
    """A breach that a watch has found: the event, and what it says."""

    entry: Entry
    facts: BreachFacts


@dataclass(frozen=True)
class Deployment:
    """One deployment.

    Attributes:
        database: Which database, without its password.
        entry: The deploy; the rehearsal where it went no further.
        migration: The project's file, where there is one.
        facts: What the deploy wrote down; of a rehearsal, what that found.
        proof: Backup, restore test and rehearsal, in order.
        after: The first look after the commit, if there was one.
        after_facts: What it saw.
        rollback: The rollback that took it back, if one did.
        rollback_facts: What that wrote down.
        schema: What became of the schema; of a rehearsal, on the copy.
        samples: What a watch has seen of it, oldest first.
        breaches: The breaches among that.
        notes: What people have said while it was live.
        open_notes: Those of them that nobody has answered.
        attempts: Earlier runs of the same migration that came to nothing, oldest first.
        names: What people call the things whose figures moved, as they are called now.
    """

    database: str
    entry: Entry
    migration: Migration | None
    facts: DeployFacts
    proof: tuple[Proof, ...] = ()
    after: Entry | None = None
    after_facts: AfterFacts = field(default_factory=AfterFacts)
    rollback: Entry | None = None
    rollback_facts: RollbackFacts = field(default_factory=RollbackFacts)
    schema: Difference | None = None
    samples: tuple[Taken, ...] = ()
    breaches: tuple[Breach, ...] = ()
    notes: tuple[Entry, ...] = ()
    open_notes: tuple[Entry, ...] = ()
    attempts: tuple[Entry, ...] = ()
    names: Names = field(default_factory=dict)

    @property
    def deployed(self) -> bool:
        """Whether it went further than its rehearsal."""
        return self.entry.kind is Kind.DEPLOY

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.migration.label if self.migration else self.entry.name or "A migration"

    @property
    def argument(self) -> str:
        """What to type after `pymilk rollback`."""
        return self.migration.argument if self.migration else self.entry.version or ""

    def proven(self, kind: type[BackupFacts | RestoreTestFacts | RehearsalFacts]) -> Proof | None:
        """The step of the proof whose facts are of a kind."""
        return next((step for step in self.proof if isinstance(step.facts, kind)), None)


def read_deployment(
    target: Target, project: Project, name: str | None, event: int | None
) -> Deployment:
    """Read what the ledger tells of a deployment.

    Args:
        target: The database.
        project: For the names of migrations, and their files.
        name: A gap, a version or a name: its newest deployment, or rehearsal where there is none.
        event: The number of a deploy's or a rehearsal's event in the ledger instead.

    Raises:
        UsageProblem: The ledger knows of none.
        Problem: The database can't be reached, or its ledger is a newer pymilk's.
    """
    with connect(target.url, purpose="report") as connection:
        entries = read_entries(connection)
        entry = _by_number(entries, event) if event is not None else _newest(entries, project, name)
        return _tell(connection, target.label, project, entries, entry)


def _by_number(entries: tuple[Entry, ...], number: int) -> Entry:
    entry = next((found for found in entries if found.id == number), None)
    if entry is not None and entry.kind in _SUBJECTS:
        return entry
    what = "there is none of that number" if entry is None else f"it is a {entry.kind}"
    raise UsageProblem(
        f"Event {number} is no deploy and no rehearsal: {what}.",
        state="Nothing was changed.",
        todo="'pymilk history --all' lists the events with their numbers.",
    )


def _newest(entries: tuple[Entry, ...], project: Project, name: str | None) -> Entry:
    version = None if name is None else _version(entries, project, name)
    found = latest(entries, Kind.DEPLOY, version=version)
    found = found or latest(entries, Kind.REHEARSAL, version=version)
    if found is not None:
        return found
    raise UsageProblem(
        f"{name} was never deployed or rehearsed here."
        if name
        else "Nothing was deployed or rehearsed here yet.",
        state="Nothing was changed.",
        todo="'pymilk history' shows what was done.",
    )


def _version(entries: tuple[Entry, ...], project: Project, name: str) -> str:
    """Of a migration of the project, or of one whose file is gone and that the ledger knows."""
    for entry in reversed(entries):
        if name in {entry.version, entry.name, f"{entry.version}_{entry.name}"} and entry.version:
            return entry.version
    return find_migration(project.migrations, name).version


def _tell(
    connection: Connection,
    database: str,
    project: Project,
    entries: tuple[Entry, ...],
    entry: Entry,
) -> Deployment:
    entry = whole(connection, entry)
    migration = next((one for one in project.migrations if one.version == entry.version), None)
    run = tuple(found for found in entries if entry.run is not None and found.run == entry.run)
    if entry.kind is Kind.REHEARSAL:
        facts = DeployFacts(rehearsal=facts_of(entry, RehearsalFacts))
        seen = Deployment(
            database, entry, migration, facts, proof=_proof(connection, entries, run, entry)
        )
        return _with_schema(connection, seen)
    since = tuple(found for found in entries if found.id > entry.id)
    live = tuple(takewhile(lambda found: not _ends(found, entry), since))
    end = since[len(live)] if len(since) > len(live) else None
    rollback = end if end is not None and end.kind is Kind.ROLLBACK else None
    after = next((found for found in run if found.kind is Kind.AFTER), None)
    after_facts = facts_of(whole(connection, after), AfterFacts) if after else AfterFacts()
    notes = tuple(found for found in live if found.kind is Kind.NOTE and found.answers is None)
    unanswered = {note.id for note in open_notes(entries)}
    return _with_schema(
        connection,
        Deployment(
            database,
            entry,
            migration,
            facts_of(entry, DeployFacts),
            proof=_proof(connection, entries, run, entry),
            after=after,
            after_facts=after_facts,
            rollback=rollback,
            rollback_facts=facts_of(whole(connection, rollback), RollbackFacts)
            if rollback
            else RollbackFacts(),
            samples=read_samples(connection, entry.id),
            breaches=_breaches(entries, entry),
            notes=notes,
            open_notes=tuple(note for note in notes if note.id in unanswered),
            attempts=_attempts(entries, entry),
            names=read_names(
                connection,
                [query for query in project.state if after_facts.moved.get(query.path.stem)],
            ),
        ),
    )


def _ends(found: Entry, deploy: Entry) -> bool:
    """Whether this event is the end of a deployment: it is rolled back, or deployed anew."""
    return found.kind in {Kind.ROLLBACK, Kind.DEPLOY} and found.version == deploy.version


def _breaches(entries: tuple[Entry, ...], deploy: Entry) -> tuple[Breach, ...]:
    """The breaches of a deploy; one that was answered by a rollback is written down after it."""
    every = (
        Breach(found, facts_of(found, BreachFacts))
        for found in entries
        if found.kind is Kind.BREACH
    )
    return tuple(breach for breach in every if breach.facts.deploy == deploy.id)


def _attempts(entries: tuple[Entry, ...], entry: Entry) -> tuple[Entry, ...]:
    """What came to nothing between this deploy of a migration and the one before it."""
    earlier = [found for found in entries if found.version == entry.version and found.id < entry.id]
    last = max((found.id for found in earlier if found.kind is Kind.DEPLOY), default=0)
    return tuple(found for found in earlier if found.kind is Kind.ATTEMPT and found.id > last)


_PROOFS: dict[Kind, type[BackupFacts | RestoreTestFacts | RehearsalFacts]] = {
    Kind.BACKUP: BackupFacts,
    Kind.RESTORE_TEST: RestoreTestFacts,
    Kind.REHEARSAL: RehearsalFacts,
}


def _proof(
    connection: Connection, entries: tuple[Entry, ...], run: tuple[Entry, ...], subject: Entry
) -> tuple[Proof, ...]:
    """What it relies on: of its own run; several that are rehearsed at once share one backup."""
    steps = [latest(run, kind) for kind in (Kind.BACKUP, Kind.RESTORE_TEST)]
    if subject.kind is Kind.REHEARSAL:
        before = tuple(entry for entry in entries if entry.id < subject.id)
        shared = (latest(before, kind) for kind in (Kind.BACKUP, Kind.RESTORE_TEST))
        steps = [own or other for own, other in zip(steps, shared, strict=True)]
        steps.append(subject)
    else:
        steps.append(latest(run, Kind.REHEARSAL, version=subject.version))
    found = (whole(connection, step) for step in steps if step)
    return tuple(Proof(step, facts_of(step, _PROOFS[step.kind])) for step in found)


def _with_schema(connection: Connection, seen: Deployment) -> Deployment:
    """The same, with what became of the schema, where both schemas are in the ledger."""
    before, after = seen.entry.before, seen.entry.after
    if before is None or after is None:
        return seen
    try:
        old = read_recorded_catalog(connection, before)
        return replace(seen, schema=old.difference(read_recorded_catalog(connection, after)))
    except LookupError as error:
        raise Problem(
            f"The ledger has lost a schema that event {seen.entry.id} speaks of.",
            state="Nothing was changed.",
            todo="Its tables were changed by hand: compare pymilk.catalogs with a backup.",
        ) from error
