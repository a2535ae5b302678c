"""Schemas that the ledger has, and the live one compared with them where they are.

A catalog is some hundred kilobytes. While a migration holds its locks it is not sent across the
network, neither way: what is expected is recorded beforehand, and only what differs comes back.
"""

from collections.abc import Sequence

from psycopg.types.json import Jsonb

from pymilk.database.catalog import QUERY, Catalog, read_objects
from pymilk.database.configuration import read_configuration
from pymilk.database.connection import Connection

_BESIDE = f"""
select coalesce(f.kind || ' ' || f.name, e.key), f.definition
from ({QUERY}) as f
full join (
    select o.key, o.value
    from pymilk.catalogs as c cross join lateral jsonb_each_text(c.objects) as o
    where c.fingerprint = %(recorded)s
) as e on e.key = f.kind || ' ' || f.name
where f.definition is distinct from e.value
"""  # noqa: S608 - constants of ours


def record_catalogs(connection: Connection, catalogs: Sequence[Catalog]) -> None:
    """Write schemas into the ledger; one that is there isn't even sent."""
    if not catalogs:
        return
    found = connection.execute(
        "select fingerprint from pymilk.catalogs where fingerprint = any(%s)",
        ([catalog.fingerprint for catalog in catalogs],),
    ).fetchall()
    known = {row[0] for row in found}
    for catalog in catalogs:
        if catalog.fingerprint not in known:
            connection.execute(
                "insert into pymilk.catalogs (fingerprint, objects) values (%s, %s)"
                " on conflict (fingerprint) do nothing",
                (catalog.fingerprint, Jsonb(dict(catalog.objects))),
            )


def read_catalog_beside(connection: Connection, recorded: Catalog) -> Catalog:
    """Read the catalog as `read_catalog` does, where it is likely to be one that is recorded.

    The first time in a session it is planned as well: whoever reads it under locks reads it before.
    """
    objects = dict(recorded.objects)
    for name, definition in read_objects(connection, _BESIDE, {"recorded": recorded.fingerprint}):
        if definition is None:
            del objects[name]
        else:
            objects[name] = definition
    # What is set up in rows is short: it is read whole.
    objects.update((each.object, each.definition) for each in read_configuration(connection))
    return Catalog(objects)
