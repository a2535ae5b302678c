"""What was done to a database, read from its ledger."""

from collections.abc import Iterator
from dataclasses import dataclass

from pymilk.database.catalog import Difference
from pymilk.database.connection import connect
from pymilk.database.ledger import Entry, Kind, read_entries, read_recorded_catalog, whole
from pymilk.problem import UsageProblem

_PROOF = frozenset({Kind.BACKUP, Kind.RESTORE_TEST, Kind.REHEARSAL, Kind.AFTER})


@dataclass(frozen=True)
class Told:
    """One event of the ledger, with all that belongs to it.

    Attributes:
        entry: The event.
        run: The other events of the same run: the backup, the restore test, the rehearsal.
        schema: What became of the schema, where both were recorded.
        answer: The note that answers it, if it is a note.
    """

    entry: Entry
    run: tuple[Entry, ...]
    schema: Difference | None
    answer: Entry | None


def read_past(url: str) -> tuple[Entry, ...]:
    """Every event, oldest first.

    Raises:
        Problem: The database can't be reached, or its ledger is a newer pymilk's.
    """
    with connect(url, purpose="history") as connection:
        return read_entries(connection)


def without_proofs(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The events that people ask about; what proved a deploy is told with the deploy."""
    return tuple(_without_proofs(entries))


def _without_proofs(entries: tuple[Entry, ...]) -> Iterator[Entry]:
    proven = {entry.run for entry in entries if entry.kind not in _PROOF and entry.run}
    for entry in entries:
        if entry.kind not in _PROOF or (entry.run is not None and entry.run not in proven):
            yield entry


def tell(url: str, number: int) -> Told:
    """One event with everything that is known of it.

    Raises:
        UsageProblem: There is none of that number.
        Problem: The database can't be reached, or its ledger is a newer pymilk's.
    """
    with connect(url, purpose="history") as connection:
        entries = read_entries(connection)
        entry = next((found for found in entries if found.id == number), None)
        if entry is None:
            raise UsageProblem(
                f"The ledger has no event {number}.",
                state="Nothing was changed.",
                todo="'pymilk history --all' lists them with their numbers.",
            )
        schema = None
        if entry.before and entry.after:
            before = read_recorded_catalog(connection, entry.before)
            schema = before.difference(read_recorded_catalog(connection, entry.after))
        others = [each for each in entries if entry.run and each.run == entry.run]
        run = tuple(whole(connection, each) for each in others if each.id != entry.id)
        entry = whole(connection, entry)
    return Told(
        entry,
        run,
        schema,
        next((found for found in entries if found.answers == entry.id), None),
    )
