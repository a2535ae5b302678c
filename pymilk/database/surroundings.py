"""What a migration can change around the project's schemas, and its rollback has to put back.

It is read twice on one server and compared there, never between a live database and its copy: these
have roles, settings and extensions of their own.
"""

from collections.abc import Iterable, Mapping
from importlib import resources

from psycopg.rows import TupleRow

from pymilk.database.connection import Connection

QUERY = resources.files("pymilk.database").joinpath("surroundings.sql").read_text(encoding="utf-8")
"""Gives name and value; takes nothing."""

Surroundings = Mapping[str, str]
"""What there is → what it says."""

Change = tuple[str | None, str | None]
"""What something said before and after; none where it wasn't there."""

# Its rows come and go without a migration: those that are there were never wrong.
_ROWS_OF = "materialized view "
_FILLED = "filled"

# Of these a copy has its server's, so what a rollback puts back may differ from what was there.
OF_THE_SERVER = "setting "


def read_surroundings(connection: Connection) -> Surroundings:
    """Read it as the current transaction sees it."""
    return surroundings_of(connection.execute(QUERY, prepare=False).fetchall())


def surroundings_of(rows: Iterable[TupleRow]) -> Surroundings:
    """The same from rows that the query gave."""
    return dict(rows)


def changes(before: Surroundings, after: Surroundings) -> Mapping[str, Change]:
    """Everything that isn't as it was, in order."""
    return {
        name: (before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }


def is_as_it_was(name: str, was: str | None, found: str | None) -> bool:
    """Whether something is back; rows of a materialized view that are there are no fault."""
    if name.startswith(_ROWS_OF):
        # That the view itself is there or not, the schema says.
        return found in {None, _FILLED} or was != _FILLED
    return was == found


def told(name: str, was: str | None, found: str | None) -> str:
    """What is not as it was, for a person."""
    if was is None:
        return f"{name} is there ({found}), and was not"
    if found is None:
        return f"{name} is gone; it was {was}"
    return f"{name} is {found}; it was {was}"
