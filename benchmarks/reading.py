"""Point 4 of the targets: what customers owe, among 100,000 of them with ten million deliveries.

The two calls are timed by one client of pgbench over the server's socket, on random customers, so
that the figure holds the round trip on the same machine as well. Queries over everything are
compared with reading the tables that they read from one end to the other: each table of the query's
plan once, whole rows (`count(*)` would read an index alone), without workers on either side.
"""

import time
from collections.abc import Iterator, Mapping, Sequence

import psycopg
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

import ledgers
from pgbench import turns_per_second
from side_by_side import Effort, Row, Side, Spread, alternate, at_most
from support.databases import ROOT, Database

_EACH = 10  # invoices and payments of a customer
_DELIVERIES = 100

_LOADED = """
insert into public.customers (id, billing_name, opening_balance)
select md5('customer' || n)::uuid, 'Bench ' || n, 0
from generate_series(0, %(many)s::bigint - 1) as n;

insert into public.invoice_metadata (
  id, invoice_number, customer_id, invoice_date, period_start, period_end, total_amount,
  subscription_amount, manual_sales_amount, gst_amount, invoice_status, due_date, amount_paid,
  amount_outstanding, last_payment_date
)
select
  md5('invoice' || n * %(each)s + i)::uuid, 'B' || n || '-' || i, md5('customer' || n)::uuid,
  date '2024-01-01' + i * 31, date '2024-01-01' + i * 31, date '2024-01-31' + i * 31, 1000,
  1000, 0, 0, case i when 9 then 'partially_paid' else 'paid' end, date '2099-01-01',
  case i when 9 then 500 else 1000 end, case i when 9 then 500 else 0 end, '2025-09-10'
from generate_series(0, %(many)s::bigint - 1) as n, generate_series(0, %(each)s - 1) as i;

insert into public.payments (
  id, customer_id, amount, payment_date, payment_method, allocation_status, amount_applied,
  amount_unapplied
)
select
  md5('payment' || n * %(each)s + i)::uuid, md5('customer' || n)::uuid, 1000, '2025-09-10', 'UPI',
  case i when 9 then 'partially_applied' else 'fully_applied' end,
  case i when 9 then 500 else 1000 end, case i when 9 then 500 else 0 end
from generate_series(0, %(many)s::bigint - 1) as n, generate_series(0, %(each)s - 1) as i;

insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
select
  md5('invoice' || n)::uuid, md5('payment' || n)::uuid,
  case n %% %(each)s when 9 then 500 else 1000 end
from generate_series(0, %(many)s::bigint * %(each)s - 1) as n;

insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
select customer_id, id, amount_unapplied from public.payments where amount_unapplied > 0;

insert into public.deliveries (
  customer_id, product_id, route_id, order_date, planned_quantity, actual_quantity, unit_price,
  total_amount, delivery_status
)
select
  md5('customer' || n)::uuid, product.id, route.id, date '2024-01-01' + day, 2, 2, 60, 120,
  'delivered'
from generate_series(0, %(many)s::bigint - 1) as n,
  generate_series(0, %(deliveries)s - 1) as day,
  (select id from public.products order by code limit 1) as product,
  (select id from public.routes order by name limit 1) as route
"""

# What calculate_customer_outstanding says of one customer, of all of them.
_OWED = """
select customer.id, customer.opening_balance - customer.opening_balance_paid
  + coalesce(invoiced.outstanding, 0) as outstanding
from public.customers as customer
left join (
  select invoice.customer_id, sum(invoice.amount_outstanding) as outstanding
  from public.invoice_metadata as invoice
  where invoice.invoice_status in ('sent', 'paid', 'partially_paid', 'overdue')
    and invoice.deleted_at is null
  group by invoice.customer_id
) as invoiced on customer.id = invoiced.customer_id
"""

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
        with psycopg.connect(database.superuser_url, autocommit=True) as connection:
            connection.execute("set max_parallel_workers_per_gather = 0")
            connection.execute("set work_mem = '256MB'")
            owed = f"what each of {customers:,} owes"
            counted = _beside_scans(connection, [_OWED])
            yield _compared(f"{owed}, by the counters", counted, 2, rounds)
            summed = _beside_scans(connection, [_text("state/customer_balances.sql")])
            yield _compared(f"{owed}, by the rows", summed, 2, rounds)
            paths = sorted((ROOT / "sql" / "invariants").glob("*.sql"))
            broken = _beside_scans(connection, [_text(f"invariants/{path.name}") for path in paths])
            payments = f"{customers * _EACH:,} payments"
            yield _compared(f"sql/invariants, {payments}", broken, 3, rounds)
            inside = {
                "check_payment_invariants": lambda: _seconds(
                    connection, "select * from public.check_payment_invariants()"
                ),
                "their scans": broken["their scans"],
            }
            yield _compared(f"check_payment_invariants, {payments}", inside, 3, rounds)


def _load(database: Database, customers: int) -> None:
    values = {"many": customers, "each": _EACH, "deliveries": _DELIVERIES}
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        for statement in _LOADED.split(";\n"):
            connection.execute(statement.encode(), values)
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


def _compared(what: str, sides: Mapping[str, Side], limit: float, rounds: int) -> Row:
    """The first of two sides against the second, whose scans it may take so many times."""
    subject, reference = sides
    return alternate(sides, rounds=rounds, unit="s").ratio(
        subject, reference, at_most(limit), name=what
    )


def _beside_scans(
    connection: psycopg.Connection[TupleRow], texts: Sequence[str]
) -> Mapping[str, Side]:
    """Run queries, and read the tables of their plans: each query's tables, one query at a time."""
    tables = [table for text in texts for table in _tables(connection, text)]

    def run() -> float:
        return sum(_seconds(connection, text) for text in texts)

    def scan() -> float:
        return sum(
            _seconds(connection, f"select count(one) from {table} as one") for table in tables
        )

    return {"the queries": run, "their scans": scan}


def _tables(connection: psycopg.Connection[TupleRow], text: str) -> list[str]:
    """The tables that a query's plan reads."""
    (plan,) = connection.execute(f"explain (verbose, format json) {text}".encode()).fetchall()
    found = connection.execute(_PLANNED, [Jsonb(plan[0])]).fetchall()
    return [f"{schema}.{name}" for schema, name in found]


def _seconds(connection: psycopg.Connection[TupleRow], statement: str) -> float:
    began = time.perf_counter()
    connection.execute(statement.encode())
    return time.perf_counter() - began
