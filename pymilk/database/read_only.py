"""Whether a database takes writes at all; and what to do where it takes none."""

from dataclasses import dataclass

from pymilk.database.connection import Connection


@dataclass(frozen=True)
class ReadOnly:
    """Why nothing can be written, as it is told.

    Attributes:
        found: In one or two sentences.
        todo: How it can be written to again.
    """

    found: str
    todo: str


BY_SETTING = ReadOnly(
    "the database is read-only: default_transaction_read_only is on. Supabase switches it on when"
    " the disk is nearly full.",
    "Make room: enlarge the disk in the dashboard; or delete what can go, in a session that begins"
    " with 'set default_transaction_read_only = off', and vacuum. Supabase switches it off again by"
    " itself. What a person has switched on, such a session switches off: alter database … set"
    " default_transaction_read_only = off. https://supabase.com/docs/guides/platform/database-size",
)
_STANDBY = ReadOnly(
    "this server is a standby, a read replica: nothing can be written to it.",
    "Name the primary's URL; the dashboard shows it under Connect.",
)


def why_read_only(connection: Connection) -> ReadOnly | None:
    """Why a transaction of this session could write nothing; none where it could."""
    row = connection.execute(
        "select pg_is_in_recovery(), current_setting('transaction_read_only')::boolean"
    ).fetchone()
    standby, read_only = row or (False, False)
    if standby:
        return _STANDBY
    return BY_SETTING if read_only else None
