"""What a row of each table and view is made of, and where that changed between two catalogs.

A statement that was prepared as `select *` or `returning *` keeps the row type that it was planned
for. Postgres refuses to give another one to whoever runs it again: "cached plan must not change
result type", SQLSTATE 0A000 (RevalidateCachedQuery in its plancache.c).
"""

import re
from collections.abc import Mapping

from pymilk.database.catalog import Catalog

REFUSAL = "0A000"
"""What a session is told that has prepared `select *` of a relation whose row type has changed."""
WHO_IS_REFUSED = (
    f"a session that has prepared 'select *' of it fails ({REFUSAL}) until it reconnects"
)
"""Follows the names of such relations, for the people who have to restart something."""

# What can be selected from; composite types have columns as well.
_RELATIONS = ("table", "view", "materialized view", "foreign table")
# `schema.relation.column`, each quoted where it has to be.
_NAME = r'(?:"(?:[^"]|"")+"|[^".]+)'
_COLUMN = re.compile(rf"({_NAME}\.{_NAME})\.({_NAME})", re.DOTALL)


def changed_row_types(before: Catalog, after: Catalog) -> tuple[str, ...]:
    """Relations of both catalogs that have lost or gained a column, or have one of another type.

    Not null, defaults, grants and comments are no part of it, nor is what appeared or vanished as
    a whole. The order of columns is no part of a catalog: one that was dropped and made again as
    it was goes unseen.
    """
    old, new = _row_types(before), _row_types(after)
    return tuple(sorted(name for name in old if name in new and old[name] != new[name]))


def _row_types(catalog: Catalog) -> Mapping[str, frozenset[tuple[str, ...]]]:
    """Relation → its columns: the name, the type, and the collation where it is no default."""
    found: dict[str, set[tuple[str, ...]]] = {
        relation: set() for kind in _RELATIONS for relation in catalog.names(kind)
    }
    for name in catalog.names("column"):
        column = _COLUMN.fullmatch(name)
        if column is None:
            raise AssertionError(f"a column that is no schema, relation and name: {name}")
        if column[1] not in found:
            continue
        first, *others = catalog.objects[f"column {name}"].split("\n")
        collation = (line for line in others if line.startswith("collation "))
        found[column[1]].add((column[2], first.removesuffix(" not null"), *collation))
    return {relation: frozenset(columns) for relation, columns in found.items()}
