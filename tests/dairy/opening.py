"""How a history begins: empty books but for two customers and a little of everything."""

from datetime import date
from decimal import Decimal

from dairy.model import FAR, PAST, Dairy, Delivery, Invoice, Payment, Sale, made
from dairy.steps_app import MONTHS, OLD
from support.databases import Connection

KEPT = ("products", "routes", "product_pricing_history", "privileges_before")
"""Tables that no step writes to."""


def tables(superuser: Connection) -> list[str]:
    """All tables whose rows a history may make."""
    found = superuser.execute(
        "select oid::regclass::text from pg_class where relkind = 'r' and relname <> all(%s)"
        " and relnamespace in ('public'::regnamespace, 'private'::regnamespace) order by 1",
        [list(KEPT)],
    ).fetchall()
    return [name for (name,) in found]


def clean(superuser: Connection, names: list[str]) -> None:
    """Take all rows away, past every rule: nobody but a superuser in a test can."""
    superuser.execute("set session_replication_role = replica")
    superuser.execute("; ".join(f"delete from {name}" for name in names).encode())
    superuser.execute("set session_replication_role = origin")


def begin(app: Connection, functions: frozenset[str]) -> Dairy:
    """Write the start into clean books, as the app does, and the same into a model."""
    dairy = Dairy(functions)
    product, route = _one(app, "products"), _one(app, "routes")
    one, two = made("customer", 0), made("customer", 1)
    dairy.customers = {one: Decimal(500), two: Decimal(0)}
    for number, (customer, amount) in enumerate([(one, 800), (one, 500), (two, 300)]):
        dairy.payments[made("payment", number)] = Payment(
            customer, Decimal(amount), date(2025, 9, 1)
        )
    for number, (customer, total, due) in enumerate(
        [(one, 1000, FAR), (one, 250, PAST), (two, 400, FAR)]
    ):
        dairy.invoices[made("invoice", number)] = Invoice(
            customer, Decimal(total), due, OLD[number]
        )
    for number, (customer, total) in enumerate([(one, 120), (two, 80), (one, 100)]):
        sold_on = MONTHS[number][0]
        dairy.sales[made("sale", number)] = Sale(customer, Decimal(total), sold_on)
    for number in range(6):
        dairy.deliveries[made("delivery", number)] = Delivery(
            (one, two)[number % 2], Decimal(60), MONTHS[number // 2][1]
        )

    with app.pipeline(), app.cursor() as cursor:
        cursor.executemany(
            "insert into public.customers (id, billing_name, opening_balance, billing_cycle_day)"
            " values (%s, 'A customer', %s, 5)",
            list(dairy.customers.items()),
        )
        cursor.executemany(
            "insert into public.payments (id, customer_id, amount, payment_date, amount_unapplied)"
            " values (%s, %s, %s, %s, %s)",
            [(key, p.customer, p.amount, p.paid_on, p.amount) for key, p in dairy.payments.items()],
        )
        cursor.executemany(
            "insert into public.invoice_metadata (id, customer_id, invoice_date, period_start,"
            " period_end, total_amount, due_date, invoice_status)"
            " values (%s, %s, '2025-09-01', %s, %s, %s, %s, 'sent')",
            [(key, i.customer, *i.period, i.total, i.due) for key, i in dairy.invoices.items()],
        )
        cursor.executemany(
            "insert into public.sales (id, customer_id, product_id, quantity, unit_price,"
            " total_amount, sale_type, sale_date, payment_status)"
            " values (%s, %s, %s, 1, %s, %s, 'Credit', %s, 'Pending')",
            [
                (key, s.customer, product, s.total, s.total, s.sold_on)
                for key, s in dairy.sales.items()
            ],
        )
        cursor.executemany(
            "insert into public.deliveries (id, customer_id, product_id, route_id, order_date,"
            " actual_quantity, unit_price, total_amount, delivery_status)"
            " values (%s, %s, %s, %s, %s, 1, %s, %s, 'delivered')",
            [
                (key, d.customer, product, route, d.delivered_on, d.total, d.total)
                for key, d in dairy.deliveries.items()
            ],
        )
    return dairy


def _one(app: Connection, table: str) -> object:
    row = app.execute(f"select id from public.{table} order by name limit 1".encode()).fetchone()
    assert row is not None
    return row[0]
