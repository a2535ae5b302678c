"""Whose prepared `select *` is refused after a change: told from two catalogs, and by Postgres."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from pymilk.database.catalog import Catalog, read_catalog
from pymilk.database.connection import Connection, connect
from pymilk.database.row_types import REFUSAL, changed_row_types
from support.databases import Database, Templates
from support.world import WORLD

ODD = 'shop."odd.""one"'
MORE = f"""
create table {ODD} ("a.b" int, c text);
create view shop.everything as select * from shop.goods;
create table shop.emptied (a int);
create table shop.pairs (one shop.pair);
"""

CHANGES = {
    # a column more, less, or of another name
    "alter table shop.goods add column more int": {"shop.goods"},
    "alter table shop.parent add column b int": {"shop.parent", "shop.child"},
    "alter table shop.lines add column b int": {"shop.lines", "shop.lines_2025"},
    f"alter table {ODD} drop column c": {ODD},
    "alter table shop.emptied drop column a": {"shop.emptied"},
    f'alter table {ODD} rename column "a.b" to "a.c"': {ODD},
    f"alter table {ODD} add column more int": {ODD},
    "create or replace view shop.cheap as select id, name, price from shop.goods": {"shop.cheap"},
    "drop materialized view shop.summary;"
    " create materialized view shop.summary as select 1 as n, 2 as m": {"shop.summary"},
    # another type
    "alter table shop.emptied alter column a type bigint": {"shop.emptied"},
    f"alter table {ODD} alter column c type varchar(9)": {ODD},
    "alter table shop.lines alter column amount type numeric(10, 3)": {
        "shop.lines",
        "shop.lines_2025",
    },
    f'alter table {ODD} alter column c type text collate "C"': {ODD},
    # nothing that a row is made of
    "alter table shop.emptied alter column a set not null": set(),
    "alter table shop.goods alter column name drop not null": set(),
    "alter table shop.goods alter column name set default 'x'": set(),
    "alter table shop.goods alter column twice drop expression": set(),
    "alter table shop.goods add check (price > 1)": set(),
    "comment on column shop.goods.name is 'Other.'": set(),
    "grant update (name) on shop.goods to anon": set(),
    "alter type shop.mood add value 'fair'": set(),
    "drop view shop.cheap; create view shop.cheap as select id, name from shop.goods": set(),
    "create table shop.made (a int)": set(),
    "alter type shop.pair add attribute c int": set(),
}


@pytest.fixture(scope="module")
def world(templates: Templates) -> Iterator[Database]:
    """A database with something of every kind in it."""
    with templates.clone("empty") as database:
        with owner_of(database) as connection:
            connection.execute((WORLD + MORE).encode())
            connection.commit()
        yield database


@contextmanager
def owner_of(database: Database) -> Iterator[Connection]:
    """A superuser under the owner's name, as in tests of the catalog; left without a commit."""
    with connect(database.superuser_url, purpose="test", autocommit=False) as connection:
        connection.execute("set role postgres")
        yield connection
        connection.rollback()


def refused_after(database: Database, change: str) -> set[str]:
    """Everything whose `select *`, prepared before the change, Postgres refuses after it."""
    with owner_of(database) as connection:
        relations = dict(connection.execute(RELATIONS).fetchall())
        for relation, name in relations.items():
            connection.execute(f"prepare {name} as select * from {relation}".encode())
        connection.execute(change.encode())
        return {relation for relation, name in relations.items() if refused(connection, name)}


RELATIONS = """
select format('%I.%I', 'shop', relname), 'every_' || oid from pg_catalog.pg_class
where relnamespace = 'shop'::regnamespace and relkind in ('r', 'p', 'v', 'm')
"""


def refused(connection: Connection, name: str) -> bool:
    try:
        with connection.transaction():
            connection.execute(f"execute {name}".encode())
    except psycopg.Error as error:
        if error.sqlstate == REFUSAL and "cached plan must not change result type" in str(error):
            return True
        raise
    return False


@pytest.mark.parametrize("change", CHANGES)
def test_exactly_those_are_told_that_postgres_refuses(world: Database, change: str) -> None:
    with owner_of(world) as connection:
        before = read_catalog(connection)
        connection.execute(change.encode())
        told = changed_row_types(before, read_catalog(connection))
    assert set(told) == CHANGES[change]
    assert refused_after(world, change) == CHANGES[change]


def test_what_appeared_or_vanished_is_no_change() -> None:
    catalog = Catalog({"table public.a": "x", "column public.a.b": "integer"})
    assert changed_row_types(Catalog({}), catalog) == ()
    assert changed_row_types(catalog, Catalog({})) == ()
