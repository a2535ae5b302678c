"""Fingerprints of rows: one changed value is seen; order, settings and the session are not."""

import os

import psycopg
import pytest

from pymilk.database.connection import Connection, connect
from pymilk.database.contents import (
    Contents,
    differing_tables,
    read_all_contents,
    read_contents,
    read_tables,
)
from support.databases import Database

MAKE = """
create table public.things (
  id int, name text, price numeric, weight double precision, at timestamptz, day date,
  span interval, raw bytea, doc jsonb, tags text[], flag boolean
);
insert into public.things values
  (1, 'one', 1.50, 0.1, '2025-09-16 12:00+00', '2025-09-16', '1 day 02:03', '\\x00ff',
    '{"a": [1, null]}', '{a,NULL,""}', true),
  (2, '', 'NaN', 'NaN', 'infinity', '-infinity', null, null, 'null', '{}', null),
  (3, null, null, null, null, null, null, null, null, null, null);
"""

# Each makes exactly one value another one, however alike the two look.
CHANGES = [
    "update public.things set name = 'One' where id = 1",
    "update public.things set name = 'one ' where id = 1",
    "update public.things set name = null where id = 2",
    "update public.things set name = '' where id = 3",
    "update public.things set name = 'null' where id = 3",
    "update public.things set price = 1.5 where id = 1",
    "update public.things set price = null where id = 2",
    "update public.things set price = 'infinity' where id = 2",
    "update public.things set weight = 0.1 + 1e-17 where id = 1",
    "update public.things set weight = '-infinity' where id = 2",
    "update public.things set at = at + interval '1 microsecond' where id = 1",
    "update public.things set raw = '\\x00fe' where id = 1",
    "update public.things set raw = '' where id = 2",
    "update public.things set doc = null where id = 2",
    "update public.things set doc = '{}' where id = 3",
    "update public.things set tags = '{a,null,\"\"}' where id = 1",
    'update public.things set tags = \'{a,"NULL",""}\' where id = 1',
    "update public.things set tags = null where id = 2",
    "update public.things set flag = false where id = 1",
    "update public.things set id = 4 where id = 3",
    "delete from public.things where id = 3",
    "insert into public.things select * from public.things where id = 1",
    "update public.things set id = 3 - id where id < 3",
]
SAME = {
    "update public.things set weight = 0.1 + 1e-17 where id = 1",
    "update public.things set tags = '{a,null,\"\"}' where id = 1",
}


@pytest.fixture
def things(empty_database: Database) -> Connection:
    connection = empty_database.connect(autocommit=True)
    connection.execute(MAKE)
    connection.execute("set timezone = 'UTC'")
    return connection


def contents(connection: Connection) -> Contents:
    (table,) = read_tables(connection, ["public"])
    return read_contents(connection, table, table.columns)


def test_one_changed_value_is_seen(things: Connection) -> None:
    before = contents(things)
    for change in CHANGES:
        with things.transaction(force_rollback=True):
            things.execute(change)
            after = contents(things)
        assert (after == before) == (change in SAME), change
    assert contents(things) == before
    assert before.rows == 3


def test_the_order_of_rows_and_columns_does_not_matter(things: Connection) -> None:
    before = contents(things)
    things.execute(
        "create table public.other (tags text[], flag boolean, doc jsonb, raw bytea,"
        " span interval, day date, at timestamptz, weight float, price numeric, name text, id int)"
    )
    columns = "id, name, price, weight, at, day, span, raw, doc, tags, flag"
    things.execute(
        f"insert into public.other ({columns}) select {columns} from public.things order by -id"
    )
    assert read_all_contents(things, read_tables(things, ["public"])) == {
        "public.other": before,
        "public.things": before,
    }


def test_two_rows_that_swap_a_value_are_seen(things: Connection) -> None:
    before = contents(things)
    things.execute("update public.things set name = 'two' where id = 2")
    one = contents(things)
    things.execute(
        "update public.things set name = case id when 1 then 'two' else 'one' end where id < 3"
    )
    assert len({before.fingerprint, one.fingerprint, contents(things).fingerprint}) == 3


@pytest.mark.parametrize(
    "setting",
    [
        *("DateStyle = 'German'", "DateStyle = 'SQL, MDY'", "TimeZone = 'Asia/Kolkata'"),
        *("IntervalStyle = 'iso_8601'", "extra_float_digits = -15", "bytea_output = 'escape'"),
    ],
)
def test_settings_of_the_role_do_not_matter(
    empty_database: Database, things: Connection, setting: str
) -> None:
    with connect(empty_database.url, purpose="test") as connection:
        before = contents(connection)
    # The database's own default, which every new session starts with.
    things.execute(f"alter database {empty_database.name} set {setting}")
    with psycopg.connect(empty_database.url) as plain:
        shown = plain.execute("select current_setting(%s)", (setting.split(" ", 1)[0],)).fetchone()
    with connect(empty_database.url, purpose="test") as connection:
        assert contents(connection) == before
        mine = connection.execute(
            "select current_setting(%s)", (setting.split(" ", 1)[0],)
        ).fetchone()
    assert shown != mine, "the setting was to differ"


def test_settings_from_the_environment_do_not_matter(
    empty_database: Database, things: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(things)
    monkeypatch.setitem(os.environ, "PGDATESTYLE", "German")
    monkeypatch.setitem(os.environ, "PGTZ", "Asia/Kolkata")
    with connect(empty_database.url, purpose="test") as connection:
        assert contents(connection) == before


def test_tables_are_those_with_rows_of_their_own(empty_database: Database) -> None:
    connection = empty_database.connect(autocommit=True)
    connection.execute(
        """
        create schema shop;
        create table shop.parts (a int, "B" text, c int generated always as (a + 1) stored)
        partition by range (a);
        create table shop.parts_1 partition of shop.parts for values from (0) to (10);
        create table shop.parent (a int);
        create table shop.child () inherits (shop.parent);
        create table shop.none ();
        create view shop.seen as select 1 as a;
        create table public.other (gone int, kept int);
        alter table public.other drop column gone;
        insert into shop.parts values (1, 'x');
        insert into shop.child values (1);
        insert into shop.none default values;
        """
    )
    tables = read_tables(connection, ["shop", "public"])
    assert {table.qualified: table.columns for table in tables} == {
        "public.other": ("kept",),
        "shop.child": ("a",),
        "shop.none": (),
        "shop.parent": ("a",),
        "shop.parts_1": ("B", "a"),
    }
    found = read_all_contents(connection, tables)
    assert {name: table.rows for name, table in found.items()} == {
        "public.other": 0,
        "shop.child": 1,
        "shop.none": 1,
        "shop.parent": 0,  # the child's row is counted once
        "shop.parts_1": 1,
    }


def test_what_differs_is_told_with_its_counts() -> None:
    one, two = Contents(1_000, "123456789"), Contents(999, "987654321")
    before, after = {"a": one, "b": one, "c": one}, {"a": one, "b": two, "d": two}
    assert differing_tables(before, after) == (
        "b: 1,000 rows (456789) → 999 rows (654321)",
        "c: 1,000 rows (456789) → absent",
        "d: absent → 999 rows (654321)",
    )
    assert differing_tables(before, dict(before)) == ()
