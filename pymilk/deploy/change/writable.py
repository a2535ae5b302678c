"""Whether a rollback could write at all, asked before a script is blamed for it."""

from pymilk.database.connection import Connection
from pymilk.database.read_only import BY_SETTING, why_read_only
from pymilk.problem import Refused
from pymilk.project.migrations import Migration


def refuse_read_only(connection: Connection, migration: Migration) -> None:
    """Say that nothing can be written before a script is blamed for it.

    Raises:
        Refused: The database is read-only.
    """
    why = why_read_only(connection)
    if why is not None:
        raise Refused(
            f"{migration.label} can't be rolled back now: {why.found}",
            state="Nothing was changed, and nothing tried.",
            todo=why.todo
            + (
                " To roll back at once, where there is room for it, over the direct connection:"
                " PGOPTIONS='-c default_transaction_read_only=off'"
                f" pymilk rollback {migration.argument}"
                if why is BY_SETTING
                else ""
            ),
        )
