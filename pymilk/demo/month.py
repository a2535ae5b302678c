"""A month of the whole dairy, from the subscriptions to what is owed at the end.

What the app writes is written as the app's role writes it, into the tables; invoices, payments and
what they pay are made by the functions alone. Nothing in here computes money: it asks.
"""

from __future__ import annotations

from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from psycopg import sql
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from uuid import UUID

    import psycopg

FIRST: Final = date(2025, 9, 1)
LAST: Final = date(2025, 9, 30)

# A subscription's order of a day: what it says, changed by what the customer asked for.
ORDERS: Final = """
  insert into public.daily_orders (
    customer_id, product_id, order_date, planned_quantity, unit_price, total_amount, route_id,
    delivery_time, status
  )
  select
    wish.customer_id, wish.product_id, wish.day, wish.quantity, product.current_price,
    wish.quantity * product.current_price, customer.route_id, customer.delivery_time, 'Generated'
  from (
    select
      subscription.customer_id,
      subscription.product_id,
      day.value::date as day,
      case
        when subscription.subscription_type = 'Daily' then subscription.daily_quantity
        when mod(day.value::date - subscription.pattern_start_date, 2) = 0
          then subscription.pattern_day1_quantity
        else subscription.pattern_day2_quantity
      end + coalesce(asked.change, 0) as quantity
    from public.base_subscriptions as subscription
    cross join generate_series(%(first)s, %(last)s, interval '1 day') as day (value)
    left join lateral (
      select
        bool_or(wish.modification_type = 'Skip') as skipped,
        sum(
          case wish.modification_type
            when 'Increase' then wish.quantity_change
            when 'Decrease' then -wish.quantity_change
            else 0
          end
        ) as change
      from public.modifications as wish
      where wish.customer_id = subscription.customer_id
        and wish.product_id = subscription.product_id
        and wish.is_active
        and day.value::date between wish.start_date and wish.end_date
    ) as asked on true
    where subscription.is_active and asked.skipped is not true
  ) as wish
  inner join public.products as product on wish.product_id = product.id
  inner join public.customers as customer on wish.customer_id = customer.id
  where wish.quantity > 0
    and customer.status = 'Active'
    and wish.day > (select max(order_date) from public.daily_orders)
"""

LISTS: Final = """
  insert into public.deliveries (
    daily_order_id, customer_id, product_id, route_id, order_date, planned_quantity, unit_price,
    total_amount, delivery_status, delivery_time
  )
  select
    planned.id, planned.customer_id, planned.product_id, planned.route_id, planned.order_date,
    planned.planned_quantity, planned.unit_price, planned.total_amount, 'pending',
    planned.delivery_time
  from public.daily_orders as planned
  where planned.order_date between %(first)s and %(last)s
    and not exists (
      select from public.deliveries as listed where listed.daily_order_id = planned.id
    )
"""

DELIVERIES: Final = """
  update public.deliveries
  set
    actual_quantity = planned_quantity,
    total_amount = planned_quantity * unit_price,
    delivery_status = 'delivered',
    delivered_at = now(),
    updated_at = now()
  where delivery_status = 'pending' and order_date between %(first)s and %(last)s
"""

OWED: Final = """
  select
    invoice.customer_id,
    invoice.id as invoice_id,
    invoice.amount_outstanding,
    owed.opening_balance_remaining
  from public.invoice_metadata as invoice
  cross join lateral public.outstanding_breakdown(invoice.customer_id) as owed
  where invoice.period_start = %(first)s and invoice.period_end = %(last)s
  order by invoice.invoice_number
"""

FIGURES: Final = """
  select
    (select count(*) from public.base_subscriptions where is_active) as subscriptions,
    (select count(*) from public.daily_orders
      where order_date between %(first)s and %(last)s) as orders,
    (select count(*) from delivered) as deliveries,
    (select sum(total_amount) from delivered) as delivered,
    (select count(*) from sold) as sales,
    (select sum(total_amount) from sold) as sold,
    (select count(*) from public.invoice_metadata) as invoices,
    (select min(invoice_number) from public.invoice_metadata) as first_number,
    (select max(invoice_number) from public.invoice_metadata) as last_number,
    (select sum(total_amount) from public.invoice_metadata) as invoiced,
    (select sum(gst_amount) from public.invoice_metadata) as gst,
    (select sum(opening_balance) from public.customers) as opening,
    (select count(*) from public.payments) as payments,
    (select sum(amount) from public.payments) as received,
    (select sum(amount) from public.opening_balance_payments) as to_opening,
    (select sum(amount_allocated) from public.invoice_payments) as to_invoices,
    (select sum(amount_unapplied) from public.unapplied_payments) as unapplied,
    (select count(*) from owed where outstanding > 0) as debtors,
    (select sum(outstanding) from owed) as outstanding,
    (select sum(credit) from owed) as credit,
    (select count(*) from owed) as customers,
    (select count(*) from public.customers as customer
      cross join lateral public.validate_outstanding(customer.id) as compared
      where compared.valid) as agreeing,
    (select count(*) from public.check_payment_invariants()) as broken
"""

SOURCES: Final = """
  with delivered as (
    select * from public.deliveries
    where delivery_status = 'delivered' and order_date between %(first)s and %(last)s
  ),

  sold as (
    select * from public.sales
    where sale_type = 'Credit' and sale_date between %(first)s and %(last)s
  ),

  owed as (
    select breakdown.* from public.customers as customer
    cross join lateral public.outstanding_breakdown(customer.id) as breakdown
  )
"""


class Figures(NamedTuple):
    """The month in numbers; amounts in rupees."""

    subscriptions: int
    orders: int
    deliveries: int
    delivered: Decimal
    sales: int
    sold: Decimal
    invoices: int
    first_number: str
    last_number: str
    invoiced: Decimal
    gst: Decimal
    opening: Decimal
    payments: int
    received: Decimal
    to_opening: Decimal
    to_invoices: Decimal
    unapplied: Decimal
    debtors: int
    outstanding: Decimal
    credit: Decimal
    customers: int
    agreeing: int
    broken: int


class Owed(NamedTuple):
    """What a customer owes when the payments come; rupees."""

    customer: UUID
    invoice: UUID
    on_invoice: Decimal
    opening: Decimal


def run_month(connection: psycopg.Connection) -> Figures:
    """Run September 2025 on the demo dairy with all gaps fixed.

    Args:
        connection: As the tables' owner, in autocommit mode: each call commits by itself, as the
            API's do.

    Returns:
        The month's figures, read at its end.
    """
    days = {"first": FIRST, "last": LAST}
    _as(connection, "authenticated")
    for statement in (ORDERS, LISTS, DELIVERIES):
        connection.execute(statement, days)
    _as(connection, "service_role")
    _invoice(connection)
    _as(connection, "authenticated")
    owed = [Owed(*row) for row in connection.execute(OWED, days)]
    for number, each in enumerate(owed):
        _pay(connection, number, each)
    _as(connection, None)
    row = connection.execute(SOURCES + FIGURES, days).fetchone()
    return Figures(*cast("tuple[Any, ...]", row))


def _as(connection: psycopg.Connection, role: str | None) -> None:
    name = sql.SQL("none") if role is None else sql.Identifier(role)
    connection.execute(sql.SQL("set role {}").format(name))


def _invoice(connection: psycopg.Connection) -> None:
    """The bulk run of the month, with its log around it."""
    log = connection.execute(
        "select id from public.log_bulk_operation('generate_bulk_invoices_atomic', %s)",
        [Jsonb({"period_start": FIRST.isoformat(), "period_end": LAST.isoformat()})],
    ).fetchone()
    outcomes = connection.execute(
        "select outcomes from public.generate_bulk_invoices_atomic(%s, %s, null)", [FIRST, LAST]
    ).fetchone()
    if log is None or outcomes is None:
        message = "a function that answers one record answered none"
        raise ValueError(message)
    connection.execute(
        "select public.update_bulk_operation_status(%s, 'completed', %s)",
        [log[0], Jsonb(outcomes[0])],
    )


def _pay(connection: psycopg.Connection, number: int, owed: Owed) -> None:
    """Every tenth customer pays nothing; most pay all; some a part, some a round sum too much."""
    everything = owed.opening + owed.on_invoice
    manner = number % 10
    if manner == 0 or not everything:
        return
    if manner in {1, 2}:
        part = (everything / 2).quantize(Decimal(1), ROUND_CEILING)
        payment = _record(connection, owed.customer, part, {})
        _auto(connection, payment, "oldest_first" if manner == 1 else "opening_first")
    elif manner == 3:  # noqa: PLR2004 - one of ten manners
        round_sum = (everything / 500).quantize(Decimal(1), ROUND_CEILING) * 500
        _auto(connection, _record(connection, owed.customer, round_sum, {}), "opening_first")
    else:
        shares: dict[str, object] = {
            "allocations": [{"invoiceId": str(owed.invoice), "amount": str(owed.on_invoice)}]
        }
        if owed.opening:
            shares["opening_balance"] = str(owed.opening)
        _record(connection, owed.customer, everything, shares)


def _record(
    connection: psycopg.Connection, customer: UUID, amount: Decimal, shares: dict[str, object]
) -> UUID:
    payment = {"customer_id": str(customer), "amount": str(amount), "payment_method": "UPI"}
    row = connection.execute(
        "select payment_id from public.record_payment_atomic(%s)", [Jsonb({**payment, **shares})]
    ).fetchone()
    return cast("tuple[UUID]", row)[0]


def _auto(connection: psycopg.Connection, payment: UUID, strategy: str) -> None:
    connection.execute("select public.auto_allocate_payment(%s, %s)", [payment, strategy])
