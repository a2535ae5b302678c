"""The demo dairy: as large as the live one, plausible, and the same in every run."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import psycopg
import pytest
from psycopg.rows import TupleRow

from pymilk.database.catalog import read_catalog
from pymilk.demo import dairy as demo
from pymilk.problem import Problem, UsageProblem
from support.databases import Database
from support.sessions import wait_until_blocked

Connection = psycopg.Connection[TupleRow]

LIVE_ROWS = {
    "routes": 2,
    "products": 9,
    "customers": 154,
    "daily_orders": 1464,
    "deliveries": 1398,
    "sales": 77,
    "payments": 0,
    "invoice_metadata": 0,
}
GROWING = (
    *("customers", "base_subscriptions", "modifications", "daily_orders", "deliveries", "sales"),
)
FIGURES = """
  select
    (select sum(opening_balance) from public.customers),
    (select sum(total_amount) from public.daily_orders),
    (select sum(total_amount) from public.deliveries where delivery_status = 'delivered'),
    (select sum(total_amount) from public.sales),
    (select sum(gst_amount) from public.sales)
"""


def value(connection: Connection, query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def rows_in(connection: Connection, table: str) -> object:
    return value(connection, f"select count(*) from public.{table}")


def contents(connection: Connection) -> dict[str, object]:
    """A digest of every table's rows, whatever their order."""
    names = [*LIVE_ROWS, "base_subscriptions", "modifications", "product_pricing_history"]
    digest = "select md5(string_agg(t::text, E'\\n' order by t::text)) from public.{} as t"
    return {name: value(connection, digest.format(name)) for name in names}


def test_has_as_many_rows_as_the_live_dairy(dairy: Database) -> None:
    connection = dairy.connect()
    assert {table: rows_in(connection, table) for table in LIVE_ROWS} == LIVE_ROWS


def test_tells_the_rows_that_it_loaded(baseline: Database) -> None:
    connection = baseline.connect()
    loaded = demo.load(connection)
    assert loaded == {table: rows_in(connection, table) for table in loaded}
    assert loaded.items() >= {k: v for k, v in LIVE_ROWS.items() if v}.items()


def test_the_same_seed_gives_the_same_rows(baseline: Database) -> None:
    connection = baseline.connect()
    demo.load(connection, scale=2)
    first = contents(connection)
    connection.rollback()
    demo.load(connection, scale=2)
    assert contents(connection) == first


def test_the_default_dairy_is_the_one_that_documents_show() -> None:
    # On every machine, in every version of Python; a wanted change of the demo changes this.
    printed = repr([table.rows for table in demo.tables(demo.SEED)])
    assert hashlib.sha256(printed.encode()).hexdigest()[:16] == "aaf2217b335cbf17"


def test_the_rows_do_not_depend_on_the_order_of_hashes() -> None:
    program = "from pymilk.demo import dairy; print([t.rows for t in dairy.tables(1)])"
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hashseed},
            capture_output=True,
            check=True,
        ).stdout
        for hashseed in ("1", "2")
    }
    assert len(printed) == 1


@pytest.mark.parametrize("seed", range(12))
def test_every_seed_gives_another_dairy_of_the_same_size(seed: int) -> None:
    sizes = {table.name: len(table.rows) for table in demo.tables(seed)}
    assert sizes.items() >= {k: v for k, v in LIVE_ROWS.items() if v}.items()
    assert demo.tables(seed) != demo.tables(seed + 1)


def test_at_a_larger_scale_every_figure_is_a_multiple(baseline: Database) -> None:
    connection = baseline.connect()
    once = demo.load(connection)
    figures = connection.execute(FIGURES).fetchone()
    connection.rollback()

    thrice = demo.load(connection, scale=3)

    assert thrice == {name: n * 3 if name in GROWING else n for name, n in once.items()}
    assert figures is not None
    assert connection.execute(FIGURES).fetchone() == tuple(3 * figure for figure in figures)


def test_a_larger_scale_leaves_the_schema_as_it_was(baseline: Database) -> None:
    connection = baseline.connect()
    before = read_catalog(connection)
    demo.load(connection, scale=2)
    after = read_catalog(connection)
    # It drops and makes again what would be checked row by row: all of it, under its name.
    assert len([name for name in before.objects if "deliveries" in name]) > 10
    assert after.objects == before.objects


def test_copies_have_telephones_of_their_own(baseline: Database) -> None:
    connection = baseline.connect()
    demo.load(connection, scale=5)
    shared = """
      select phone from public.customers
      cross join lateral unnest(array[phone_primary, phone_secondary]) as phone
      where phone is not null group by phone having count(*) > 1
    """
    assert connection.execute(shared).fetchall() == []


def test_a_second_load_is_refused_and_changes_nothing(baseline: Database) -> None:
    connection = baseline.connect()
    demo.load(connection)
    connection.execute("update public.customers set opening_balance = opening_balance + 1")
    before = contents(connection)

    with pytest.raises(Problem) as refused:
        demo.load(connection, seed=2)

    assert "daily_orders" in refused.value.happened
    assert contents(connection) == before


def test_one_row_is_enough_to_refuse(baseline: Database) -> None:
    connection = baseline.connect()
    connection.execute("insert into public.routes (name) values ('Ours')")
    with pytest.raises(Problem, match="these hold rows: routes"):
        demo.load(connection)
    assert rows_in(connection, "routes") == 1


def test_of_two_loads_at_once_the_second_is_refused(baseline: Database) -> None:
    first, second, watcher = baseline.connect(), baseline.connect(), baseline.connect()
    demo.load(first)
    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(demo.load, second)
        wait_until_blocked(watcher, second.info.backend_pid)
        first.commit()
        with pytest.raises(Problem, match="these hold rows"):
            loading.result()
    assert rows_in(first, "customers") == 154


def test_the_caller_commits(baseline: Database) -> None:
    connection = baseline.connect()
    demo.load(connection)
    connection.rollback()
    assert rows_in(connection, "customers") == 0


def test_in_autocommit_mode_all_of_it_is_loaded_or_nothing(baseline: Database) -> None:
    connection = baseline.connect(autocommit=True)
    connection.execute("alter table public.sales add check (total_amount < 0)")
    with pytest.raises(psycopg.errors.CheckViolation):
        demo.load(connection)
    assert rows_in(connection, "routes") == 0


def test_missing_tables_are_named(empty_database: Database) -> None:
    connection = empty_database.connect()
    with pytest.raises(Problem, match="not there: routes, products"):
        demo.load(connection)


@pytest.mark.parametrize("scale", [0, -1, 1_000_001])
def test_an_impossible_scale_is_refused(baseline: Database, scale: int) -> None:
    connection = baseline.connect()
    with pytest.raises(UsageProblem):
        demo.load(connection, scale=scale)
    assert rows_in(connection, "routes") == 0


def test_some_owe_from_before(dairy: Database) -> None:
    connection = dairy.connect()
    owed = "select sum(opening_balance) from public.customers where opening_balance > 0"
    debt = value(connection, owed)
    assert isinstance(debt, Decimal)
    assert 50_000 < debt < 150_000


@pytest.mark.long
def test_a_thousand_dairies(baseline: Database) -> None:
    connection = baseline.connect()
    loaded = demo.load(connection, scale=1000)
    assert loaded["customers"] == 154_000
    assert loaded["daily_orders"] == 1_464_000
    assert loaded["deliveries"] == 1_398_000
    assert rows_in(connection, "deliveries") == 1_398_000
