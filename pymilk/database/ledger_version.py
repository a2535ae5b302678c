"""The ledger's own migrations: ledger_versions/0001.sql makes it, each later one takes it further.

A script that was released is never edited: ledgers out there have been through it as it is.
"""

from functools import cache
from importlib import metadata, resources

from pymilk.database.connection import Connection
from pymilk.database.person import person
from pymilk.problem import Problem


def _scripts() -> dict[int, str]:
    folder = resources.files("pymilk.database").joinpath("ledger_versions")
    return {
        int(found.name.removesuffix(".sql")): found.read_text(encoding="utf-8")
        for found in folder.iterdir()
        if found.name.endswith(".sql")
    }


NEWEST = max(_scripts())
"""The version that this pymilk reads and writes."""


def ledger_version(connection: Connection) -> int:
    """The version of the ledger; 0 where there is none."""
    # The catalog itself is asked: to_regclass() may remember what was not there a moment ago.
    tables = connection.execute(
        "select c.relname from pg_catalog.pg_class as c"
        " inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid"
        " where n.nspname = 'pymilk' and c.relname in ('events', 'ledger_versions')"
    ).fetchall()
    if ("ledger_versions",) not in tables:
        return len(tables)  # the first one didn't count yet
    newest = connection.execute("select max(version) from pymilk.ledger_versions").fetchone()
    return int(newest[0]) if newest else 0


def prepare_ledger(connection: Connection) -> None:
    """Make the ledger where there is none, and bring an older one up to date, its rows untouched.

    Does nothing, and locks nothing, where it is as it should be.

    Raises:
        Problem: It was made by a newer pymilk.
    """
    if readable_version(connection) == NEWEST:
        return
    with connection.transaction():
        # Two at once: the second waits here, and then finds everything there.
        connection.execute("select pg_advisory_xact_lock(hashtext('pymilk ledger'))")
        for version, script in sorted(_scripts().items()):
            if version > ledger_version(connection):
                connection.execute(script.encode())
                if version > 1:
                    connection.execute(
                        "insert into pymilk.ledger_versions (version, person, tool)"
                        " values (%s, %s, %s)",
                        (version, person(), tool()),
                    )


def readable_version(connection: Connection) -> int:
    """The version of the ledger; refuses one that this pymilk might misread.

    Raises:
        Problem: It was made by a newer pymilk.
    """
    version = ledger_version(connection)
    if version > NEWEST:
        raise Problem(
            f"A newer pymilk has been here: the ledger is of version {version}, and this one"
            f" (pymilk {tool()}) knows versions up to {NEWEST}.",
            state="Nothing was changed.",
            todo="Take the newer pymilk: pip install --upgrade pymilk",
        )
    return version


@cache
def tool() -> str:
    """Which pymilk this is; asked once, for the answer is read from a file."""
    return metadata.version("pymilk")
