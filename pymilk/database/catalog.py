"""The catalog of a database as plain values, its fingerprint, and the difference between two.

A fingerprint proves that a rollback restored the schema, and that a live schema is the rehearsed
one. Every object is compared by itself, so that a difference names it.
"""

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

from psycopg.abc import QueryNoTemplate
from psycopg.rows import TupleRow

from pymilk.database.configuration import read_configuration
from pymilk.database.connection import Connection

# Schemas that Supabase runs for its own services (its documentation and images name them), and
# ours. What happens in them isn't the project's doing.
PLATFORM_SCHEMAS = (
    "auth",
    "cron",
    "dbdev",
    "extensions",
    "graphql",
    "graphql_public",
    "information_schema",
    "net",
    "pgbouncer",
    "pgmq",
    "pgsodium",
    "pgsodium_masks",
    "pgtle",
    "realtime",
    "_realtime",
    "_analytics",
    "storage",
    "supabase_functions",
    "supabase_migrations",
    "vault",
)
OWN_SCHEMAS = ("pymilk", "pymilk_archive")

# The major version that worded the definitions, and the kind that each words in its own way.
_WORDED_BY = "worded by Postgres"
_WORDED_DIFFERENTLY = "view definition "
QUERY = resources.files("pymilk.database").joinpath("catalog.sql").read_text(encoding="utf-8")
"""Gives kind, name and definition; takes the schemas that are `hidden`."""


@dataclass(frozen=True)
class Catalog:
    """The objects of a database's own schemas.

    Attributes:
        objects: `kind name` → definition, in order.
    """

    objects: Mapping[str, str]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every object; equal exactly when the catalogs are."""
        said = "".join(
            f"{len(name)}:{name}{len(definition)}:{definition}"
            for name, definition in sorted(self.objects.items())
        )
        return hashlib.sha256(said.encode()).hexdigest()

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of all objects of a kind."""
        start = f"{kind} "
        return tuple(name[len(start) :] for name in self.objects if name.startswith(start))

    def difference(self, other: "Catalog") -> "Difference":
        """What changed from this catalog to `other`.

        Between two majors of Postgres, as of a live database and its rehearsal's copy, the text of
        views can't be compared; their columns, options and grants are.
        """
        mine, theirs = self.objects, other.objects
        if mine.get(_WORDED_BY) != theirs.get(_WORDED_BY):
            mine, theirs = _worded_alike(mine), _worded_alike(theirs)
        return Difference(
            appeared=tuple(name for name in theirs if name not in mine),
            vanished=tuple(name for name in mine if name not in theirs),
            changed=tuple(name for name in mine if name in theirs and mine[name] != theirs[name]),
        )

    def text_difference(self, other: "Catalog", name: str) -> str:
        """A unified diff of one object's definition, from this catalog to `other`."""
        lines = difflib.unified_diff(
            self.objects.get(name, "").splitlines(),
            other.objects.get(name, "").splitlines(),
            "expected",
            "found",
            lineterm="",
            n=2,
        )
        return "\n".join(lines)


def _worded_alike(objects: Mapping[str, str]) -> Mapping[str, str]:
    return {
        name: definition
        for name, definition in objects.items()
        if name != _WORDED_BY and not name.startswith(_WORDED_DIFFERENTLY)
    }


@dataclass(frozen=True)
class Difference:
    """Names of objects that differ between two catalogs."""

    appeared: tuple[str, ...]
    vanished: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def names(self) -> frozenset[str]:
        """Every object that differs."""
        return frozenset((*self.appeared, *self.vanished, *self.changed))

    def __bool__(self) -> bool:
        return bool(self.appeared or self.vanished or self.changed)

    def sentences(self, limit: int = 12) -> tuple[str, ...]:
        """One line an object, for a person; at most `limit`, then a count."""
        lines = [
            *(f"+ {name}" for name in self.appeared),
            *(f"- {name}" for name in self.vanished),
            *(f"~ {name}" for name in self.changed),
        ]
        rest = len(lines) - limit
        return tuple(lines[:limit]) + ((f"… and {rest} more",) if rest > 0 else ())


# So many definitions can be read at once.
_SHOWN = 3


def describe_difference(expected: Catalog, found: Catalog) -> str:
    """What differs, one name after the other, and the lines of the first that changed."""
    difference = expected.difference(found)
    told = "; ".join(difference.sentences())
    for name in difference.changed[:_SHOWN]:
        told += f"\n{name}\n{expected.text_difference(found, name)}"
    return told


def read_catalog(connection: Connection) -> Catalog:
    """Read the catalog as the current transaction sees it."""
    rows = read_objects(connection)
    objects = {f"{kind} {name}": definition for kind, name, definition in rows}
    configuration = {each.object: each.definition for each in read_configuration(connection)}
    return Catalog({**objects, **configuration})


def read_objects(
    connection: Connection, query: QueryNoTemplate = QUERY, values: Mapping[str, str] | None = None
) -> list[TupleRow]:
    """Run the catalog's query, or one around it, with the settings that its wording depends on.

    It is prepared, and planned once for the session: planning takes a third of its time, and a
    deploy reads it again under its locks.
    """
    # The definitions qualify a name exactly when the search path doesn't reach it: fix the path.
    hidden = [*PLATFORM_SCHEMAS, *OWN_SCHEMAS]
    with connection.pipeline(), connection.transaction():
        connection.execute(
            "select set_config('pymilk.search_path', current_setting('search_path'), true),"
            " set_config('pymilk.plan_cache_mode', current_setting('plan_cache_mode'), true)"
        )
        connection.execute(
            "select set_config('search_path', 'pg_catalog', true),"
            " set_config('plan_cache_mode', 'force_generic_plan', true)"
        )
        found = connection.execute(query, {"hidden": hidden, **(values or {})}, prepare=True)
        connection.execute(
            "select set_config('search_path', current_setting('pymilk.search_path'), true),"
            " set_config('plan_cache_mode', current_setting('pymilk.plan_cache_mode'), true)"
        )
    return found.fetchall()


def project_schemas(connection: Connection) -> tuple[str, ...]:
    """The schemas that belong to the project: all but the platform's and ours."""
    rows = connection.execute(
        "select n.nspname from pg_catalog.pg_namespace as n"
        " where n.nspname <> all(%s)"
        " and n.nspname !~ '^pg_|^restored_[0-9]{8}_[0-9]{6}$' order by 1",
        ([*PLATFORM_SCHEMAS, *OWN_SCHEMAS],),
    ).fetchall()
    return tuple(row[0] for row in rows)
