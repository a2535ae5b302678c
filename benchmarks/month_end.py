"""Point 3 of the targets: a month is invoiced, for everybody in one call.

Each customer has thirty deliveries. The reference is a plain `insert … select` of the same invoices
and lines into the live schema as it was, with its foreign keys: no rule, no number that is counted,
no trail. How the time grows is told as an exponent: 1 is twice the customers, twice the time.
"""

import math
import time
from collections.abc import Iterator
from statistics import median

import psycopg

import ledgers
from side_by_side import Effort, Row, Spread, alternate, at_most
from support.databases import Templates

_MONTH = """
insert into public.customers (id, billing_name, billing_cycle_day, opening_balance)
select md5('customer' || n)::uuid, 'Bench ' || n, 5, 0
from generate_series(0, %(many)s::bigint - 1) as n;

insert into public.deliveries (
  customer_id, product_id, route_id, order_date, planned_quantity, actual_quantity, unit_price,
  total_amount, delivery_status
)
select
  md5('customer' || n)::uuid, product.id, route.id, date '2024-06-01' + day, 2, 2, 60, 120,
  'delivered'
from generate_series(0, %(many)s::bigint - 1) as n,
  generate_series(0, 29) as day,
  (select id from public.products order by code limit 1) as product,
  (select id from public.routes order by name limit 1) as route
"""
_CALL = """
select invoices_created, total_amount
from public.generate_bulk_invoices_atomic(
  '2024-06-01', '2024-06-30', (select array_agg(id) from public.customers
    where billing_name like 'Bench %')
)
"""
_PLAIN = """
with due as (
  select
    gen_random_uuid() as id, customer_id, sum(total_amount) as total,
    row_number() over (order by customer_id) as number
  from public.deliveries
  where order_date between '2024-06-01' and '2024-06-30' and delivery_status = 'delivered'
    and customer_id in (select id from public.customers where billing_name like 'Bench %')
  group by customer_id
),
invoice as (
  insert into public.invoice_metadata (
    id, invoice_number, customer_id, invoice_date, period_start, period_end, total_amount,
    subscription_amount, manual_sales_amount, gst_amount, invoice_status, due_date, amount_paid,
    amount_outstanding
  )
  select
    id, '202425' || lpad(number::text, 5, '0'), customer_id, '2024-07-01', '2024-06-01',
    '2024-06-30', total, total, 0, 0, 'sent', '2024-07-05', 0, total
  from due
  returning id, customer_id, total_amount
),
line as (
  insert into public.invoice_line_items (
    invoice_id, line_item_type, delivery_id, order_id, product_id, product_name, quantity,
    unit_price, line_total, gst_rate, gst_amount
  )
  select
    invoice.id, 'subscription', delivery.id, delivery.daily_order_id, delivery.product_id,
    product.name, delivery.actual_quantity, delivery.unit_price, delivery.total_amount, 0, 0
  from invoice
  inner join public.deliveries as delivery on invoice.customer_id = delivery.customer_id
  inner join public.products as product on delivery.product_id = product.id
  where delivery.order_date between '2024-06-01' and '2024-06-30'
    and delivery.delivery_status = 'delivered'
)
select count(*)::integer, sum(total_amount) from invoice
"""


def rows(effort: Effort) -> Iterator[Row]:
    """Ten thousand customers beside the plain insert, and how the time grows."""
    customers = effort.choose(10_000, 200)
    with ledgers.stages() as templates:
        sides = {
            "the call": lambda: _seconds(templates, ledgers.DEPLOYED, customers, _CALL),
            "plain insert … select": lambda: _seconds(templates, ledgers.BEFORE, customers, _PLAIN),
        }
        subject, reference = sides
        found = alternate(sides, rounds=effort.choose(5, 1), unit="s")
        what = f"generate_bulk_invoices_atomic, {customers:,} customers with 30 deliveries each"
        yield found.ratio(subject, reference, at_most(3), name=what)

        few, many = effort.choose((1_000, 50_000), (50, 200))
        small = [
            _seconds(templates, ledgers.DEPLOYED, few, _CALL) for _ in range(effort.choose(5, 1))
        ]
        large = [
            _seconds(templates, ledgers.DEPLOYED, many, _CALL) for _ in range(effort.choose(3, 1))
        ]
        exponents = [math.log(took / median(small), many / few) for took in large]
        yield Row(
            name=f"how it grows from {few:,} to {many:,} customers: exponent",
            unit="",
            subject=Spread.of(exponents),
            target=at_most(1.1),
            note=f"{median(small):.2f} s and {median(large):.1f} s",
        )


def _seconds(templates: Templates, stage: str, customers: int, statement: str) -> float:
    """Invoice a fresh dairy's month; all customers get an invoice of 3,600 rupees."""
    with (
        templates.clone(stage) as database,
        psycopg.connect(database.superuser_url, autocommit=True) as connection,
    ):
        connection.execute("set session_replication_role = replica")
        for each in _MONTH.split(";\n"):
            connection.execute(each.encode(), {"many": customers})
        connection.execute("reset session_replication_role")
        connection.execute("vacuum (analyze)")
        connection.execute("checkpoint")
        connection.execute("set role postgres")
        began = time.perf_counter()
        made = connection.execute(statement.encode()).fetchone()
        took = time.perf_counter() - began
        if made != (customers, customers * 3600):
            raise RuntimeError(f"{customers} invoices were to be made, and {made} are")
        return took
