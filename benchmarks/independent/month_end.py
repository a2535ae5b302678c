"""Target 3: the month's end.

generate_bulk_invoices_atomic for 10,000 customers with 30 deliveries each within 3 times the plain
`insert … select` of the same invoices and lines; from 1,000 to 50,000 customers the time grows with
an exponent of at most 1.1.

Readings. *The plain insert … select*: into the tables without triggers, checks and foreign keys;
the same with the audit trail's rows, which the function's invoices leave as well; or into the
tables as they are deployed. Two statements in one transaction, the lines joined to the new
invoices. *The function*: for everybody (null), or for all customers named. *The exponent*: from the
smallest size to the largest, and from one size to the next.

Each run has a copy of the books of its own, read once before; times are the client's, to the
commit.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from independent.figures import Comparison, Effort, Figure, at_most, in_turns, middle, tell
from independent.server import DURABLE, SUPERUSER, Connection, Server, number, running

_TARGET = 3
_DELIVERIES = 30
_MIGRATED = "migrated"
_WORK = "work"

_EVERYBODY = (
    "select * from public.generate_bulk_invoices_atomic(date '2025-09-01', date '2025-09-30', null)"
)
_NAMED = """
select * from public.generate_bulk_invoices_atomic(
  date '2025-09-01', date '2025-09-30', (select array_agg(id) from public.customers)
)
"""

_INVOICES = """
insert into public.invoice_metadata (
  invoice_number, customer_id, invoice_date, period_start, period_end, total_amount,
  subscription_amount, manual_sales_amount, gst_amount, status, due_date, invoice_status,
  amount_paid, amount_outstanding
)
select
  '202526' || lpad((row_number() over (order by customer.billing_name))::text, 5, '0'),
  customer.id, current_date, '2025-09-01', '2025-09-30', billed.total, billed.total, 0, 0,
  'Generated', date '2025-10-01', 'sent', 0, billed.total
from public.customers as customer
inner join (
  select customer_id, sum(total_amount) as total
  from public.deliveries
  where order_date between '2025-09-01' and '2025-09-30' and delivery_status = 'delivered'
  group by customer_id
) as billed on customer.id = billed.customer_id
"""

_LINES = """
insert into public.invoice_line_items (
  invoice_id, line_item_type, delivery_id, product_id, product_name, quantity, unit_price,
  line_total
)
select
  invoice.id, 'subscription', delivery.id, delivery.product_id, product.name,
  delivery.actual_quantity, delivery.unit_price, delivery.total_amount
from public.deliveries as delivery
inner join public.invoice_metadata as invoice on delivery.customer_id = invoice.customer_id
inner join public.products as product on delivery.product_id = product.id
where delivery.order_date between '2025-09-01' and '2025-09-30'
  and delivery.delivery_status = 'delivered'
order by invoice.invoice_number, delivery.order_date
"""

_TRAIL = """
insert into public.audit_trail (recorded_by, action, entity, entity_id, became)
select 'authenticated', 'created', 'invoice', id, to_jsonb(invoice)
from public.invoice_metadata as invoice
"""

_PLAIN = (_INVOICES, _LINES)

_FILL = (
    "insert into public.routes (name) values ('North')",
    """
    insert into public.products (name, code, current_price)
    values ('Cow milk', 'C', 60), ('Toned milk', 'T', 55.5), ('Buffalo milk', 'B', 72.25)
    """,
    """
    insert into public.customers (billing_name, route_id, delivery_time, billing_cycle_day)
    select 'Customer ' || lpad(n::text, 7, '0'), route.id, 'Morning', 1 + n %% 28
    from generate_series(1, %(customers)s) as n cross join public.routes as route
    """,
    """
    insert into public.deliveries (
      customer_id, product_id, route_id, order_date, planned_quantity, actual_quantity,
      unit_price, total_amount, delivery_status, delivered_at
    )
    select
      customer.id, product.id, customer.route_id, date '2025-09-01' + day, 1 + day %% 3,
      1 + day %% 3, product.current_price, (1 + day %% 3) * product.current_price, 'delivered',
      date '2025-09-01' + day + time '06:30'
    from generate_series(0, %(deliveries)s - 1) as day
    cross join public.customers as customer
    inner join (
      select *, row_number() over (order by code) - 1 as place from public.products
    ) as product on right(customer.billing_name, 1)::integer %% 3 = product.place
    order by day, customer.billing_name
    """,
)


def measure(effort: Effort) -> Iterator[Figure]:
    """Target 3, figure by figure."""
    sizes = (30, 60, 120) if effort.quick else (1_000, 10_000, 50_000)
    with running(DURABLE) as server:
        server.create(_MIGRATED)
        for customers in sizes:
            server.clone(_filled(customers), _MIGRATED)
            fill(server, _filled(customers), customers)
            tell(f"books of {customers} customers")
        yield from _against_plain(server, effort, sizes[1])
        yield from _growth(server, effort, sizes)


def _filled(customers: int) -> str:
    return f"filled_{customers}"


def fill(server: Server, database: str, customers: int) -> None:
    """Customers whose every day of September 2025 was delivered, and is not billed yet."""
    with server.connect(database, SUPERUSER) as session:
        session.execute("set session_replication_role = replica")
        for statement in _FILL:
            session.execute(statement.encode(), {"customers": customers, "deliveries": _DELIVERIES})
    server.settle(database)


def _against_plain(server: Server, effort: Effort, customers: int) -> Iterator[Figure]:
    filled, bare = _filled(customers), "bare"
    server.clone(bare, filled)
    server.strip(bare)
    server.settle(bare)
    as_app = "authenticated"
    seconds = partial(_seconds, server, customers)
    measured = in_turns(
        {
            "for everybody": partial(seconds, filled, as_app, [_EVERYBODY]),
            "for all, named": partial(seconds, filled, as_app, [_NAMED]),
            "without triggers, checks, foreign keys": partial(seconds, bare, "", _PLAIN),
            "the same, with the audit trail": partial(seconds, bare, "", [*_PLAIN, _TRAIL]),
            "into the tables as deployed": partial(seconds, filled, "", _PLAIN),
        },
        effort.rounds,
    )
    server.drop(bare)
    compared = Comparison(_TARGET, measured, at_most(3))
    subjects = ("for everybody", "for all, named")
    for subject in subjects:
        for reference in measured:
            if reference not in subjects:
                yield compared.figure(
                    f"{customers} customers x {_DELIVERIES} deliveries, {subject}",
                    f"plain: {reference}",
                    subject,
                    reference,
                )


def _growth(server: Server, effort: Effort, sizes: Sequence[int]) -> Iterator[Figure]:
    measured = in_turns(
        {
            str(customers): partial(
                _seconds, server, customers, _filled(customers), "authenticated", [_EVERYBODY]
            )
            for customers in sizes
        },
        effort.rounds,
    )
    smallest, between, largest = sizes
    for fewer, more in ((smallest, largest), (smallest, between), (between, largest)):
        yield Figure(
            _TARGET,
            "exponent of growth",
            f"from {fewer} to {more} customers",
            _exponents(measured, fewer, more),
            "",
            at_most(1.1),
            ", ".join(f"{size}: {middle(taken):.3g} s" for size, taken in measured.items()),
        )


def _exponents(measured: Mapping[str, Sequence[float]], fewer: int, more: int) -> tuple[float, ...]:
    return tuple(
        math.log(large / small) / math.log(more / fewer)
        for small, large in zip(measured[str(fewer)], measured[str(more)], strict=True)
    )


def _seconds(
    server: Server, customers: int, template: str, role: str, statements: Sequence[str]
) -> float:
    """How long the statements take, one transaction, on a copy; refused if they bill less."""
    server.clone(_WORK, template)
    server.administer("checkpoint")
    with server.connect(_WORK) as session:
        for table in ("customers", "deliveries"):
            number(session, f"select count(*) from public.{table} as t where t::text <> ''")
        if role:
            session.execute(f"set role {role}".encode())
        started = time.perf_counter()
        with session.transaction():
            for statement in statements:
                session.execute(statement.encode())
        taken = time.perf_counter() - started
        session.execute("reset role")
        _refuse_untrue(session, customers)
    server.drop(_WORK)
    return taken


def _refuse_untrue(session: Connection, customers: int) -> None:
    wanted = {
        "select count(*) from public.invoice_metadata": customers,
        "select count(*) from public.invoice_line_items": customers * _DELIVERIES,
        "select count(distinct invoice_id) from public.invoice_line_items": customers,
        "select (select sum(total_amount) from public.invoice_metadata)"
        " - (select sum(total_amount) from public.deliveries)": 0,
        "select (select sum(line_total) from public.invoice_line_items)"
        " - (select sum(total_amount) from public.deliveries)": 0,
    }
    for query, value in wanted.items():
        found = number(session, query)
        if found != value:
            raise AssertionError(f"{query}: {found}, not {value}")
