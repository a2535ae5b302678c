"""What a deploy put into tables by itself.

It goes again with the rollback, as the rehearsal has shown, and nobody misses it; unless somebody
has written to the table since, for then it is not told apart from what people did.
"""

from collections.abc import Iterable, Mapping

from pymilk.database.catalog import project_schemas
from pymilk.database.connection import Connection
from pymilk.database.contents import (
    Contents,
    Table,
    read_contents,
    read_contents_together,
    read_tables,
)


def read_made(
    connection: Connection, existed: Iterable[Table], written: Iterable[str], given: Iterable[str]
) -> Mapping[str, Contents]:
    """The contents of the tables that a migration made or wrote to, just after it.

    Args:
        connection: In the transaction of the deploy.
        existed: The tables that were there before.
        written: The tables that it wrote to, by qualified name.
        given: Where rows of an earlier time were given back: those are people's, not the deploy's.
    """
    old = {table.qualified for table in existed}
    concerned = set(written) - set(given)
    return read_contents_together(
        connection,
        (
            table
            for table in read_tables(connection, project_schemas(connection))
            if table.qualified not in given
            and (table.qualified in concerned or table.qualified not in old)
        ),
    )


def untouched(
    connection: Connection, made: Mapping[str, Contents], tables: Iterable[Table]
) -> frozenset[str]:
    """Which of the tables hold exactly what the deploy left in them."""
    return frozenset(
        table.qualified
        for table in tables
        if made.get(table.qualified) == read_contents(connection, table, table.columns)
    )
