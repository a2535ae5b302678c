"""The schema as the ledger recorded it last: what differs from it was made by hand."""

from dataclasses import dataclass
from datetime import datetime

from pymilk.database.catalog import Catalog
from pymilk.database.connection import Connection
from pymilk.database.ledger import Entry, Kind, latest, read_recorded_catalog


@dataclass(frozen=True)
class LastSchema:
    """The schema that the ledger recorded last, and when."""

    schema: Catalog
    recorded_at: datetime


def last_schema(connection: Connection, entries: tuple[Entry, ...]) -> LastSchema | None:
    """The schema that was recorded last; none where none was."""
    made = tuple(entry for entry in entries if entry.after is not None)
    entry = latest(made, Kind.DEPLOY, Kind.ROLLBACK, Kind.ADOPT, Kind.STEP)
    if entry is None or entry.after is None:
        return None
    return LastSchema(read_recorded_catalog(connection, entry.after), entry.happened_at)
