"""Which tables refer to which, by their foreign keys, and an order that follows from it."""

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from pymilk.database.connection import Connection


def parents_first(connection: Connection, tables: Sequence[str]) -> tuple[str, ...]:
    """Tables, by their qualified names, so that each comes after those that it refers to.

    Where some refer to each other in a circle no order is better than another: as they were given.
    """
    parents: dict[str, set[str]] = {name: set() for name in tables}
    for child, parent in connection.execute(
        """
        select n.nspname || '.' || c.relname, m.nspname || '.' || p.relname
        from pg_catalog.pg_constraint as k
        inner join pg_catalog.pg_class as c on k.conrelid = c.oid
        inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
        inner join pg_catalog.pg_class as p on k.confrelid = p.oid
        inner join pg_catalog.pg_namespace as m on p.relnamespace = m.oid
        where k.contype = 'f' and c.oid <> p.oid
        """
    ).fetchall():
        if child in parents and parent in parents:
            parents[child].add(parent)
    try:
        return tuple(TopologicalSorter(parents).static_order())
    except CycleError:
        return tuple(parents)
