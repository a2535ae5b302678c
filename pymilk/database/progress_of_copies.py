"""How far pg_dump and pg_restore have come, asked of the server that they work on."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from pymilk.database.connection import Connection, connect
from pymilk.database.contents import Contents, Table
from pymilk.database.meter import Meter, looking_every_second

_COPYING = """
select n.nspname || '.' || c.relname, p.tuples_processed
from pg_catalog.pg_stat_progress_copy as p
inner join pg_catalog.pg_class as c on p.relid = c.oid
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
where p.datname = current_database()
"""
_SIZES = """
select n.nspname || '.' || c.relname, pg_table_size(c.oid), greatest(c.reltuples::bigint, 1)
from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
where c.relkind = 'r' and n.nspname = any(%s)
"""


class Copies:
    """Tables that are copied, and perhaps read once more, in units of work.

    Args:
        weights: Table → its size in some unit.
        rows: Table → about how many rows it has.
    """

    def __init__(self, weights: Mapping[str, int], rows: Mapping[str, int]) -> None:
        self._weights = weights
        self._rows = rows
        self._copied: dict[str, int] = {}
        self._read: set[str] = set()

    @property
    def total(self) -> int:
        """All there is to copy."""
        return sum(self._weights.values())

    @property
    def done(self) -> int:
        """What is copied, and read."""
        return sum(self._copied.values()) + sum(self._weights.get(name, 0) for name in self._read)

    def have_read(self, table: Table) -> None:
        """A table was read once more."""
        self._read.add(table.qualified)

    def look(self, copying: Mapping[str, int]) -> None:
        """Take down what is copied at this moment: table → rows so far."""
        for name in self._copied.keys() - copying.keys():
            self._copied[name] = self._weights.get(name, 0)  # seen before, and over by now
        for name, rows in copying.items():
            part = min(1.0, rows / max(self._rows.get(name, 1), 1))
            self._copied[name] = int(self._weights.get(name, 0) * part)


def copies_out(connection: Connection, schemas: Iterable[str]) -> Copies:
    """The tables of some schemas, by their size on disk."""
    found = connection.execute(_SIZES, (list(schemas),)).fetchall()
    return Copies({name: size for name, size, _ in found}, {name: rows for name, _, rows in found})


def copies_in(contents: Mapping[str, Contents]) -> Copies:
    """The tables of a backup, by their rows."""
    rows = {name: found.rows for name, found in contents.items()}
    return Copies(rows, rows)


@contextmanager
def looking(copies: Copies, meter: Meter, url: str) -> Iterator[None]:
    """Tell the meter once a second how far the copies of a database have come."""
    if not meter.watched:
        yield
        return
    with connect(url, purpose="progress") as connection:

        def look() -> int:
            copies.look(dict(connection.execute(_COPYING).fetchall()))
            return copies.done

        with looking_every_second(meter, look):
            yield
