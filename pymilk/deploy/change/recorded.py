"""What a deploy has left in the ledger for its rollback to go by."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pymilk.database.catalog import Catalog
from pymilk.database.connection import Connection
from pymilk.database.contents import Contents
from pymilk.database.history import read_versions
from pymilk.database.ledger import Kind, latest, read_entries, read_recorded_catalog, whole
from pymilk.database.surroundings import Change
from pymilk.deploy.basis.half import half_of
from pymilk.deploy.change.archive import Vanishing, find_vanishing
from pymilk.deploy.change.strong_locks import Needed
from pymilk.problem import Refused
from pymilk.project.migrations import Migration


class RowsWouldBeLost(Refused):
    """A rollback would take rows away; a person decides whether the archive is to have them."""


@dataclass(frozen=True)
class Recorded:
    """What the deploy recorded.

    Attributes:
        before: The schema before it.
        after: The schema after it.
        vanishing: What is in the one and not in the other: it goes with a rollback.
        made: Table → what the deploy itself left in it.
        locks: The strong locks that the rollback took on the rehearsal's copy.
        script: The rollback that was rehearsed with it.
        around: What it changed around the schema; none where an older pymilk didn't record it.
    """

    before: Catalog
    after: Catalog
    vanishing: Vanishing
    made: Mapping[str, Contents]
    locks: Needed | None
    script: str | None
    around: Mapping[str, Change] | None = None

    @property
    def own(self) -> frozenset[str]:
        """The objects that the migration made or changed."""
        return self.before.difference(self.after).names

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions of the API that there were not before: they go with a rollback."""
        return api_functions(self.before.difference(self.after).appeared)


def read_recorded(connection: Connection, migration: Migration) -> Recorded:
    """What the newest deploy of an applied migration recorded.

    Raises:
        Refused: It isn't applied, or there is nothing to go by.
    """
    label, version = migration.label, migration.version
    entries = read_entries(connection)
    if version not in read_versions(connection):
        half = half_of(entries, version)
        if half is not None:
            raise Refused(
                f"{label} is {half}; only what is whole can be rolled back.",
                state="Nothing was changed.",
                todo=f"Bring it to its end: pymilk deploy {migration.argument}",
            )
        raise Refused(
            f"{label} is not applied.",
            state="Nothing was changed.",
            todo="'pymilk status' shows what is.",
        )
    entry = latest(entries, Kind.DEPLOY, version=version)
    if entry is None or entry.before is None or entry.after is None:
        raise Refused(
            f"{label} was not deployed by pymilk, so the schema before it was never recorded.",
            state="Nothing was changed.",
            todo="Undo it with a new migration, which is rehearsed like any other.",
        )
    before = read_recorded_catalog(connection, entry.before)
    after = read_recorded_catalog(connection, entry.after)
    vanishing = find_vanishing(connection, before, after)
    evidence = whole(connection, entry).evidence
    made = {table: Contents(**found) for table, found in evidence.get("made", {}).items()}
    found = evidence.get("rehearsal", {}).get("down_locks")
    locks = Needed(**found) if found else None
    return Recorded(
        before,
        after,
        vanishing,
        made,
        locks,
        evidence.get("rollback_script"),
        _around(evidence.get("around")),
    )


def _around(found: Mapping[str, list[str | None]] | None) -> Mapping[str, Change] | None:
    if found is None:
        return None
    return {name: (before, after) for name, (before, after) in found.items()}


def api_functions(objects: Iterable[str]) -> tuple[str, ...]:
    """Of objects of a catalog, the functions that the API shows, without their arguments."""
    return tuple(
        sorted(
            name.removeprefix("function ").partition("(")[0]
            for name in objects
            if name.startswith("function public.")
        )
    )
