"""Point 4 of the targets: what customers owe, among 100,000 of them with ten million deliveries.

Months came one after the other, as in a dairy: what is one customer's stands far apart. The two
calls are timed by one client of pgbench over the server's socket, on random customers, so that the
figure holds the round trip on the same machine as well. Queries over everything, on a connection
as pymilk has it and with the server's memory for sorting, are compared with reading their tables
from one end to the other: the tables of each query's plan once, rows to their last column, without
workers on either side. Counting rows, which looks into none, stands beside it.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import psycopg
from psycopg.types.json import Jsonb

import ledgers
from pgbench import turns_per_second
from pymilk.database.connection import Connection, connect
from side_by_side import Effort, Row, Spread, alternate, at_most
from support.databases import ROOT, Database

_MONTHS = 10  # with an invoice and a payment of each customer
_LINES = 10  # of an invoice, a delivery each
_DELIVERIES = _MONTHS * _LINES  # of a customer

_CUSTOMERS = """
insert into public.customers (id, billing_name, opening_balance)
select md5('customer' || n)::uuid, 'Bench ' || n, 0
from generate_series(0, %(many)s::bigint - 1) as n
"""

# A month of everybody's: delivered, billed, and paid; of the last one a half.
_MONTH = """
insert into public.deliveries (
  id, customer_id, product_id, route_id, order_date, planned_quantity, actual_quantity, unit_price,
  total_amount, delivery_status
)
select
  md5('delivery' || n * %(months)s + %(month)s || 'of' || day)::uuid, md5('customer' || n)::uuid,
  product.id, route.id, date '2024-01-01' + %(month)s * 31 + day::integer, 2, 2,
  1000 / %(lines)s / 2, 1000 / %(lines)s, 'delivered'
from generate_series(0, %(lines)s - 1) as day,
  generate_series(0, %(many)s::bigint - 1) as n,
  (select id from public.products order by code limit 1) as product,
  (select id from public.routes order by name limit 1) as route;

insert into public.invoice_metadata (
  id, invoice_number, customer_id, invoice_date, period_start, period_end, total_amount,
  subscription_amount, manual_sales_amount, gst_amount, invoice_status, due_date, amount_paid,
  amount_outstanding, last_payment_date
)
select
  md5('invoice' || n * %(months)s + %(month)s)::uuid, 'B' || n || '-' || %(month)s,
  md5('customer' || n)::uuid, date '2024-01-01' + %(month)s * 31,
  date '2024-01-01' + %(month)s * 31, date '2024-01-31' + %(month)s * 31, 1000, 1000, 0, 0,
  case when %(paid)s < 1000 then 'partially_paid' else 'paid' end, date '2099-01-01', %(paid)s,
  1000 - %(paid)s, '2025-09-10'
from generate_series(0, %(many)s::bigint - 1) as n;

insert into public.invoice_line_items (
  invoice_id, line_item_type, delivery_id, product_id, product_name, quantity, unit_price,
  line_total, bills
)
select
  md5('invoice' || n * %(months)s + %(month)s)::uuid, 'subscription',
  md5('delivery' || n * %(months)s + %(month)s || 'of' || day)::uuid, product.id, product.name, 2,
  1000 / %(lines)s / 2, 1000 / %(lines)s, true
from generate_series(0, %(many)s::bigint - 1) as n,
  generate_series(0, %(lines)s - 1) as day,
  (select id, name from public.products order by code limit 1) as product;

insert into public.payments (
  id, customer_id, amount, payment_date, payment_method, allocation_status, amount_applied,
  amount_unapplied
)
select
  md5('payment' || n * %(months)s + %(month)s)::uuid, md5('customer' || n)::uuid, 1000,
  '2025-09-10', 'UPI',
  case when %(paid)s < 1000 then 'partially_applied' else 'fully_applied' end, %(paid)s,
  1000 - %(paid)s
from generate_series(0, %(many)s::bigint - 1) as n;

insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
select
  md5('invoice' || n * %(months)s + %(month)s)::uuid,
  md5('payment' || n * %(months)s + %(month)s)::uuid, %(paid)s
from generate_series(0, %(many)s::bigint - 1) as n;

insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
select
  md5('customer' || n)::uuid, md5('payment' || n * %(months)s + %(month)s)::uuid, 1000 - %(paid)s
from generate_series(0, %(many)s::bigint - 1) as n
where %(paid)s < 1000
"""

# Nobody keeps these indexes while rows are written; `reindex` makes them whole again.
_WITHOUT_INDEXES = """
update pg_catalog.pg_index set indisready = false, indisvalid = false
where indrelid in (
  select oid from pg_catalog.pg_class where relnamespace = 'public'::regnamespace
)
"""

# What calculate_customer_outstanding says, of all customers; what is paid adds nothing.
_OWED = """
select customer.id, customer.opening_balance - customer.opening_balance_paid
  + coalesce(invoiced.outstanding, 0) as outstanding
from public.customers as customer
left join (
  select invoice.customer_id, sum(invoice.amount_outstanding) as outstanding
  from public.invoice_metadata as invoice
  where invoice.invoice_status in ('sent', 'paid', 'partially_paid', 'overdue')
    and invoice.deleted_at is null
    and invoice.amount_outstanding <> 0
  group by invoice.customer_id
) as invoiced on customer.id = invoiced.customer_id
"""

_CHECKED = "select * from public.check_payment_invariants()"

_READ, _COUNTED = "their scans", "counting their rows"

# The tables of a plan.
_PLANNED = """
with recursive node as (
  select %s::jsonb #> '{0,Plan}' as plan
  union all
  select child.value from node, jsonb_array_elements(node.plan -> 'Plans') as child (value)
)
select distinct node.plan ->> 'Schema', node.plan ->> 'Relation Name'
from node
where node.plan ? 'Relation Name'
"""


@dataclass(frozen=True)
class _Question:
    """Queries over everything, with the tables that they read, each as often as one of them does.

    Attributes:
        what: They tell.
        queries: One after the other.
        tables: To be read once for each time that they are named.
        limit: How many times as long as that they may take.
    """

    what: str
    queries: Sequence[str]
    tables: Sequence[str]
    limit: float


def rows(effort: Effort) -> Iterator[Row]:
    """One customer's debt, everybody's, and all invariants."""
    customers = effort.choose(100_000, 500)
    rounds = effort.choose(5, 1)
    with (
        ledgers.stages() as templates,
        templates.clone(ledgers.DEPLOYED) as database,
    ):
        _load(database, customers)
        for function, call in (
            ("calculate_customer_outstanding", "public.calculate_customer_outstanding({})"),
            ("outstanding_breakdown", "public.outstanding_breakdown({}, null)"),
        ):
            yield _call(database, function, call, customers, effort)
        with connect(database.superuser_url, purpose="benchmark") as connection:
            connection.execute("set max_parallel_workers_per_gather = 0")
            paths = sorted((ROOT / "sql" / "invariants").glob("*.sql"))
            invariants = [_text(f"invariants/{path.name}") for path in paths]
            for path, text in zip(paths, invariants, strict=True):
                if connection.execute(text.encode()).fetchone():
                    raise AssertionError(f"the books break {path.stem}: a bench of other books")

            balances = _text("state/customer_balances.sql")
            owed, payments = f"what each of {customers:,} owes", f"{customers * _MONTHS:,} payments"
            tables = [table for text in invariants for table in _tables(connection, text)]
            for question in (
                _Question(f"{owed}, by the counters", [_OWED], _tables(connection, _OWED), 2),
                _Question(f"{owed}, by the rows", [balances], _tables(connection, balances), 2),
                _Question(f"sql/invariants, {payments}", invariants, tables, 3),
                _Question(f"check_payment_invariants, {payments}", [_CHECKED], tables, 3),
            ):
                yield from _beside_scans(connection, question, rounds)


def _load(database: Database, customers: int) -> None:
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        # Ids are as scattered as an app's: indexes made row by row would take half an hour.
        connection.execute("set allow_system_table_mods = on")
        connection.execute(_WITHOUT_INDEXES)
        connection.execute(_CUSTOMERS, {"many": customers})
        for month in range(_MONTHS):
            values = {
                "many": customers,
                "months": _MONTHS,
                "month": month,
                "lines": _LINES,
                "paid": 500 if month == _MONTHS - 1 else 1000,
            }
            for statement in _MONTH.split(";\n"):
                connection.execute(statement.encode(), values)
        connection.execute("set maintenance_work_mem = '1GB'")
        connection.execute("reindex schema public")
        connection.execute("vacuum (analyze)")
        connection.execute("checkpoint")


def _call(database: Database, name: str, call: str, customers: int, effort: Effort) -> Row:
    """Milliseconds of a call, of one client after the other's answer."""
    turns = effort.choose(8_000, 160)
    customer = f"\\set who random(0, {customers - 1})\nselect * from {call};\n".format(
        "md5('customer' || :who)::uuid"
    )
    taken = [
        1000 / turns_per_second(database.url, customer, turns=turns, clients=1)
        for _ in range(effort.choose(5, 1))
    ]
    return Row(
        name=f"{name}, {customers:,} customers, {customers * _DELIVERIES:,} deliveries",
        unit="ms",
        subject=Spread.of(taken),
        target=at_most(1),
    )


def _text(path: str) -> str:
    """What a file below sql/ says."""
    return (ROOT / "sql" / path).read_text(encoding="utf-8")


def _beside_scans(connection: Connection, asked: _Question, rounds: int) -> Iterator[Row]:
    columns = {table: _last_column(connection, table) for table in set(asked.tables)}
    sides = {
        "the queries": partial(_seconds, connection, asked.queries),
        _READ: partial(
            _seconds,
            connection,
            [f"select count({columns[table]}) from {table}" for table in asked.tables],
        ),
        _COUNTED: partial(
            _seconds, connection, [f"select count(*) from {table}" for table in asked.tables]
        ),
    }

    taken = alternate(sides, rounds=rounds, unit="s")
    yield taken.ratio("the queries", _READ, at_most(asked.limit), name=asked.what)
    yield taken.ratio("the queries", _COUNTED, name=asked.what)


def _tables(connection: Connection, text: str) -> list[str]:
    """The tables that a query's plan reads."""
    (plan,) = connection.execute(f"explain (verbose, format json) {text}".encode()).fetchall()
    found = connection.execute(_PLANNED, [Jsonb(plan[0])]).fetchall()
    return [f"{schema}.{name}" for schema, name in found]


def _last_column(connection: Connection, table: str) -> str:
    """The one that a row has to be read to the end for."""
    (found,) = connection.execute(
        """
        select quote_ident(attname) from pg_catalog.pg_attribute
        where attrelid = %s::regclass and attnum > 0 and not attisdropped
        order by attnum desc limit 1
        """,
        (table,),
    ).fetchall()
    return str(found[0])


def _seconds(connection: Connection, statements: Sequence[str]) -> float:
    began = time.perf_counter()
    for statement in statements:
        connection.execute(statement.encode())
    return time.perf_counter() - began
