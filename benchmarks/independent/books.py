"""Books of any size, as years of use leave them: nothing in them breaks an invariant.

Every delivery was made, billed on a line of its customer's invoice of the month, and (mostly) paid.
Rows lie in the order in which they came: day by day, and month by month, a customer's rows among
everybody else's. What the database derives (paid, outstanding, applied, statuses, the mirror, the
mapping) is written as it would have derived it; the invariants tell whether that is so.

Triggers and foreign keys rest meanwhile (session_replication_role), and indexes are filled once, at
the end, by `reindex`.
"""

from dataclasses import dataclass

from independent.figures import tell
from independent.server import ROOT, SUPERUSER, Connection, Server

INVARIANTS = ROOT / "sql" / "invariants"

_TABLES = (
    "routes",
    "products",
    "customers",
    "deliveries",
    "sales",
    "invoice_metadata",
    "invoice_line_items",
    "invoice_sales_mapping",
    "payments",
    "invoice_payments",
    "opening_balance_payments",
    "sales_payments",
    "unapplied_payments",
)


@dataclass(frozen=True)
class Size:
    """How large the books are.

    Attributes:
        customers: How many.
        months: Invoices, and payments, of each customer; 5 to 10.
        deliveries: On each invoice; at most 10.
    """

    customers: int
    months: int
    deliveries: int

    def __str__(self) -> str:
        billed = self.customers * self.months
        return (
            f"{self.customers:,} customers, {billed * self.deliveries:,} deliveries,"
            f" {billed:,} invoices, {billed:,} payments"
        )


def fill(server: Server, database: str, size: Size) -> None:
    """Fill a migrated, empty database."""
    with server.connect(database, SUPERUSER) as session:
        for setting in (
            "session_replication_role = replica",
            "work_mem = '512MB'",
            "maintenance_work_mem = '1GB'",
        ):
            session.execute(f"set {setting}".encode())
        session.execute(_SCRATCH.encode())
        with session.transaction():
            # In the transaction that empties a table, what is put in needs no log.
            session.execute(
                f"truncate {', '.join(f'public.{t}' for t in _TABLES)} cascade".encode()
            )
            _rest_indexes(session)
            for statement in _PEOPLE:
                session.execute(statement.encode(), {"customers": size.customers})
            for month in range(1, size.months + 1):
                for statement in _MONTH:
                    session.execute(
                        statement.encode(),
                        {
                            "month": month,
                            "last": size.months,
                            "deliveries": size.deliveries,
                        },
                    )
                tell(f"books: month {month} of {size.months}")
            session.execute(_COUNTERS.encode())
            for table in _TABLES:
                session.execute(f"reindex table public.{table}".encode())
            tell("books: indexed")
    with server.connect(database, SUPERUSER) as session:
        session.execute("vacuum (freeze, analyze)")
        session.execute("checkpoint")


def _rest_indexes(session: Connection) -> None:
    """Insert without filling indexes; `reindex` fills them and takes them into use again."""
    session.execute(
        """
        update pg_catalog.pg_index set indisready = false, indisvalid = false
        where indrelid = any(
          select to_regclass('public.' || name) from unnest(%s::text[]) as named (name)
        )
        """,
        [list(_TABLES)],
    )


_SCRATCH = """
create temporary table person (
  n integer, id uuid, product_id uuid, product_name text, price numeric, sale_id uuid
);
create temporary table delivered (
  n integer, day integer, id uuid, customer_id uuid, invoice_id uuid, order_date date,
  product_id uuid, product_name text, quantity numeric, price numeric, total numeric
);
create temporary table billed (
  n integer, customer_id uuid, invoice_id uuid, payment_id uuid, sale_id uuid, due date,
  period_start date, period_end date, deliveries numeric, sales numeric, total numeric,
  paid numeric, opening numeric, counter_sale numeric, amount numeric
)
"""

# Every second customer began with an opening balance of 500, of which the first payment paid 200.
# Everybody bought two of something on credit once: a tenth paid it directly, the others' is on an
# invoice, paid or not.
_PEOPLE = (
    """
    insert into public.routes (name) values ('North'), ('South')
    """,
    """
    insert into public.products (name, code, current_price) values
    ('Cow milk', 'C', 60), ('Toned milk', 'T', 55.5), ('Buffalo milk', 'B', 72.25)
    """,
    """
    insert into person
    select n, gen_random_uuid(), product.id, product.name, product.current_price, gen_random_uuid()
    from generate_series(1, %(customers)s) as n
    inner join (
      select *, row_number() over (order by code) - 1 as place from public.products
    ) as product on n %% 3 = product.place
    """,
    """
    insert into public.customers (
      id, billing_name, address, phone_primary, route_id, delivery_time, payment_method,
      billing_cycle_day, opening_balance, opening_balance_paid
    )
    select
      person.id, 'Customer ' || lpad(person.n::text, 7, '0'), person.n || ', Station Road',
      '98' || lpad(person.n::text, 8, '0'), route.id, 'Morning', 'Monthly', 1 + person.n %% 28,
      case when person.n %% 2 = 0 then 500 else 0 end,
      case when person.n %% 2 = 0 then 200 else 0 end
    from person
    inner join (
      select *, row_number() over (order by name) - 1 as place from public.routes
    ) as route on person.n %% 2 = route.place
    order by person.n
    """,
)

_MONTH = (
    "truncate delivered, billed",
    """
    insert into delivered
    select
      person.n, made.day, gen_random_uuid(), person.id, null, (
        date '2025-04-01' + (%(month)s - 1) * interval '1 month'
      )::date + 3 * (made.day - 1), person.product_id, person.product_name, made.quantity,
      person.price, made.quantity * person.price
    from person
    cross join lateral (
      select day, 1 + (person.n + %(month)s + day) %% 3 as quantity
      from generate_series(1, %(deliveries)s) as day
    ) as made
    """,
    # The sale is on the last invoice (unpaid) or on the third (paid); of n %% 10 = 0 on none.
    """
    insert into billed
    select
      person.n, person.id, gen_random_uuid(), gen_random_uuid(),
      case when sold.amount > 0 then person.sale_id end,
      month.start + 40, month.start, (month.start + interval '1 month')::date - 1,
      sum(delivered.total), sold.amount, sum(delivered.total) + sold.amount
    from delivered
    inner join person on delivered.n = person.n
    cross join lateral (
      select (date '2025-04-01' + (%(month)s - 1) * interval '1 month')::date as start
    ) as month
    cross join lateral (
      select case
        when person.n %% 10 between 1 and 5 and %(month)s = %(last)s then 2 * person.price
        when person.n %% 10 > 5 and %(month)s = 3 then 2 * person.price
        else 0
      end as amount
    ) as sold
    group by person.n, person.id, person.sale_id, month.start, sold.amount
    """,
    # The last invoice is not paid yet, half of the one before is, all others are paid in full.
    """
    update billed
    set
      paid = case
        when %(month)s = %(last)s then 0
        when %(month)s = %(last)s - 1 then round(total / 2, 2)
        else total
      end,
      opening = case when %(month)s = 1 and billed.n %% 2 = 0 then 200 else 0 end,
      counter_sale = case
        when %(month)s = 2 and billed.n %% 10 = 0 then 2 * person.price else 0
      end
    from person
    where billed.n = person.n
    """,
    # What came in on top: 25 in the third month, and an advance in the last.
    """
    update billed
    set amount = paid + opening + counter_sale + case
      when %(month)s = %(last)s then 500 when %(month)s = 3 then 25 else 0
    end
    """,
    """
    insert into public.deliveries (
      id, customer_id, product_id, route_id, order_date, planned_quantity, actual_quantity,
      unit_price, total_amount, delivery_status, delivery_time, delivered_at
    )
    select
      delivered.id, customer.id, delivered.product_id, customer.route_id, delivered.order_date,
      delivered.quantity, delivered.quantity, delivered.price, delivered.total, 'delivered',
      'Morning', delivered.order_date + time '06:30'
    from delivered
    inner join public.customers as customer on delivered.customer_id = customer.id
    order by delivered.day, delivered.n
    """,
    """
    insert into public.sales (
      id, customer_id, product_id, quantity, unit_price, total_amount, sale_type, sale_date,
      payment_status, amount_paid
    )
    select
      person.sale_id, person.id, person.product_id, 2, person.price, 2 * person.price, 'Credit',
      billed.period_start + 1,
      case when billed.sales > 0 and billed.paid < billed.total then 'Billed' else 'Completed' end,
      billed.counter_sale
    from billed
    inner join person on billed.n = person.n
    where billed.sales > 0 or billed.counter_sale > 0
    order by billed.n
    """,
    """
    insert into public.invoice_metadata (
      id, invoice_number, customer_id, invoice_date, period_start, period_end, total_amount,
      subscription_amount, manual_sales_amount, status, due_date, last_payment_date,
      invoice_status, amount_paid, amount_outstanding
    )
    select
      -- a year has numbers of five digits for 99,999; those after them are not the counter's
      invoice_id,
      '202526' || case
        when n < 10000 then lpad(((%(month)s - 1) * 9999 + n)::text, 5, '0')
        else (%(month)s * 1000000 + n)::text
      end,
      customer_id, period_end + 1, period_start, period_end, total, deliveries, sales, 'Sent', due,
      case when paid > 0 then period_end + 6 end,
      case when paid = 0 then 'sent' when paid < total then 'partially_paid' else 'paid' end,
      paid, total - paid
    from billed
    order by n
    """,
    """
    insert into public.invoice_line_items (
      invoice_id, line_item_type, delivery_id, product_id, product_name, quantity, unit_price,
      line_total
    )
    select
      billed.invoice_id, 'subscription', delivered.id, delivered.product_id,
      delivered.product_name, delivered.quantity, delivered.price, delivered.total
    from delivered
    inner join billed on delivered.n = billed.n
    order by delivered.n, delivered.day
    """,
    """
    insert into public.invoice_line_items (
      invoice_id, line_item_type, sale_id, product_id, product_name, quantity, unit_price,
      line_total
    )
    select
      billed.invoice_id, 'manual_sale', billed.sale_id, person.product_id, person.product_name, 2,
      person.price, billed.sales
    from billed
    inner join person on billed.n = person.n
    where billed.sale_id is not null
    order by billed.n
    """,
    """
    insert into public.invoice_sales_mapping (invoice_id, sale_id)
    select invoice_id, sale_id from billed where sale_id is not null
    """,
    """
    insert into public.payments (
      id, customer_id, amount, payment_date, payment_method, allocation_status, amount_applied,
      amount_unapplied
    )
    select
      payment_id, customer_id, amount, period_end + 6,
      case when n %% 2 = 0 then 'UPI' else 'Cash' end,
      case
        when paid + opening + counter_sale = 0 then 'unapplied'
        when paid + opening + counter_sale < amount then 'partially_applied'
        else 'fully_applied'
      end,
      paid + opening + counter_sale, amount - paid - opening - counter_sale
    from billed
    order by n
    """,
    """
    insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
    select invoice_id, payment_id, paid from billed where paid > 0 order by n
    """,
    """
    insert into public.opening_balance_payments (customer_id, payment_id, amount)
    select customer_id, payment_id, opening from billed where opening > 0 order by n
    """,
    """
    insert into public.sales_payments (sales_id, payment_id, amount_allocated)
    select person.sale_id, billed.payment_id, billed.counter_sale
    from billed
    inner join person on billed.n = person.n
    where billed.counter_sale > 0
    order by billed.n
    """,
    """
    insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
    select customer_id, payment_id, amount - paid - opening - counter_sale
    from billed
    where amount > paid + opening + counter_sale
    order by n
    """,
)

_COUNTERS = """
insert into public.invoice_counters (financial_year, last_number)
values ('202526', 99999)
on conflict (financial_year) do update set last_number = excluded.last_number
"""
