"""What the live app issues today goes on, as its own role, before any gap and after each."""

from uuid import UUID

import psycopg
import pytest

from dairy.books import Books, refused
from support.databases import GAPS, Database

STAGES = [
    *("dairy", "dairy_001", "dairy_hardened"),
    *(pytest.param(f"dairy_{gap}", marks=pytest.mark.long) for gap in GAPS[1:]),
]


@pytest.fixture(params=STAGES)
def app(request: pytest.FixtureRequest) -> Books:
    """The app's session: role authenticated, a clerk signed in, every statement commits."""
    return signed_in(request.getfixturevalue(request.param))


def signed_in(database: Database) -> Books:
    """A clerk's session."""
    books = Books(database.connect(role="authenticated", autocommit=True))
    books.setting("request.jwt.claims", f'{{"sub": "{UUID(int=7)}", "role": "authenticated"}}')
    return books


def test_a_payment_is_recorded_and_mirrored(app: Books) -> None:
    customer = app.customer()
    payment = app.value(
        "insert into public.payments (customer_id, amount, payment_date, payment_method,"
        " period_start, period_end, notes, allocation_status, amount_applied, amount_unapplied)"
        " values (%s, 800, '2025-09-10', 'gpay', '2025-08-01', '2025-08-31', 'at the door',"
        " 'unapplied', 0, 800) returning id",
        customer,
    )
    mirrored = app.value(
        "insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied, reason)"
        " values (%s, %s, 800, 'new') returning amount_unapplied",
        customer,
        payment,
    )
    assert mirrored == 800


def test_a_payment_without_method_or_customer_is_recorded(app: Books) -> None:
    app.run("insert into public.payments (amount, payment_date) values (10, '2025-09-10')")


def test_the_four_calls_of_an_allocation(app: Books) -> None:
    customer = app.customer()
    payment, invoice = app.payment(customer, 800), app.invoice(customer, 1000)
    app.run(
        "insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)"
        " values (%s, %s, 800)",
        customer,
        payment,
    )

    app.allocate_directly(payment, invoice, 300)
    app.run(
        "update public.invoice_metadata set amount_paid = 300, amount_outstanding = 700,"
        " invoice_status = 'partially_paid', last_payment_date = '2025-09-10' where id = %s",
        invoice,
    )
    app.run(
        "update public.payments set amount_applied = 300, amount_unapplied = 500,"
        " allocation_status = 'partially_applied' where id = %s",
        payment,
    )
    app.run(
        "update public.unapplied_payments set amount_unapplied = 500 where payment_id = %s",
        payment,
    )

    assert app.payment_totals(payment) == (300, 500, "partially_applied")
    assert app.invoice_totals(invoice) == (300, 700, "partially_paid")
    assert app.unapplied(payment) == [500]


def test_update_invoice_status_after_an_allocation(app: Books) -> None:
    customer = app.customer()
    payment, invoice = app.payment(customer, 800), app.invoice(customer, 800)
    app.allocate_directly(payment, invoice, 800)
    app.run("select public.update_invoice_status(%s)", invoice)
    assert app.invoice_totals(invoice) == (800, 0, "paid")
    app.run("delete from public.invoice_payments where payment_id = %s", payment)
    app.run("select public.update_invoice_status_with_sales_completion(%s)", invoice)
    assert app.invoice_totals(invoice) == (0, 800, "sent")


def test_a_paid_invoice_completes_its_credit_sales_and_bills_them_again(app: Books) -> None:
    customer = app.customer()
    payment, invoice = app.payment(customer, 70), app.invoice(customer, 70)
    sale = app.value(
        "insert into public.sales (customer_id, product_id, quantity, unit_price, total_amount,"
        " sale_type, payment_status) select %s, id, 1, 70, 70, 'Credit', 'Pending'"
        " from public.products limit 1 returning id",
        customer,
    )
    app.run("update public.sales set payment_status = 'Billed' where id = %s", sale)
    app.run(
        "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id, line_total)"
        " values (%s, 'manual_sale', %s, 70)",
        invoice,
        sale,
    )

    def status_after(statement: str) -> object:
        app.run(statement, payment)
        app.run("select public.update_invoice_status_with_sales_completion(%s)", invoice)
        return app.value("select payment_status from public.sales where id = %s", sale)

    app.allocate_directly(payment, invoice, 69)
    assert status_after("select %s::uuid") == "Billed"
    assert (
        status_after(
            "update public.invoice_payments set amount_allocated = 70 where payment_id = %s"
        )
        == "Completed"
    )
    assert status_after("delete from public.invoice_payments where payment_id = %s") == "Billed"


def test_a_payment_is_deleted_with_its_allocations(app: Books) -> None:
    customer = app.customer(opening_balance=500)
    payment, invoice = app.payment(customer, 800), app.invoice(customer, 1000)
    app.allocate_directly(payment, invoice, 300)
    app.run(
        "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
        " values (%s, %s, 100)",
        customer,
        payment,
    )
    app.run(
        "insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)"
        " values (%s, %s, 400)",
        customer,
        payment,
    )

    app.run(
        "with sale as (insert into public.sales (customer_id, product_id, quantity, unit_price,"
        " total_amount, sale_type, payment_status) select %s, id, 1, 50, 50, 'Credit', 'Pending'"
        " from public.products limit 1 returning id)"
        " insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
        " select id, %s, 50 from sale",
        customer,
        payment,
    )

    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        app.run("delete from public.payments where id = %s", payment)
    for table in (
        "invoice_payments",
        "opening_balance_payments",
        "sales_payments",
        "unapplied_payments",
    ):
        app.run(f"delete from public.{table} where payment_id = %s", payment)
    assert app.run("delete from public.payments where id = %s", payment) == 1

    app.run("select public.update_invoice_status(%s)", invoice)
    assert app.invoice_totals(invoice) == (0, 1000, "sent")


def test_an_amount_and_notes_are_edited(app: Books) -> None:
    customer = app.customer()
    payment, invoice = app.payment(customer, 800), app.invoice(customer, 1000)
    app.allocate_directly(payment, invoice, 300)
    edited = app.run(
        "update public.payments set amount = 900, notes = 'recounted', amount_unapplied = 600,"
        " amount_applied = 300, allocation_status = 'partially_applied' where id = %s",
        payment,
    )
    assert edited == 1
    assert app.payment_totals(payment) == (300, 600, "partially_applied")


def test_an_invoice_is_made_with_its_lines_and_deleted_again(app: Books) -> None:
    customer = app.customer()
    sequence = app.value("select public.get_next_invoice_sequence('202526')")
    invoice = app.value(
        "insert into public.invoice_metadata (invoice_number, customer_id, invoice_date,"
        " period_start, period_end, total_amount, status)"
        " values ('202526' || lpad(%s::text, 5, '0'), %s, '2025-09-01', '2025-08-01',"
        " '2025-08-31', 120.50, 'Generated') returning id",
        sequence,
        customer,
    )
    app.run(
        "insert into public.invoice_line_items (invoice_id, line_item_type, product_name, quantity,"
        " unit_price, line_total) values (%s, 'subscription', 'Milk', 2, 60.25, 120.50)",
        invoice,
    )
    app.run(
        "update public.invoice_metadata set status = 'Sent', invoice_status = 'sent',"
        " file_path = 'invoices/1.pdf', due_date = '2999-01-01' where id = %s",
        invoice,
    )
    assert app.value("select public.calculate_customer_outstanding(%s)", customer) in (0, 120.5)
    result = app.value("select public.delete_invoice_and_revert_sales(%s)", invoice)
    assert isinstance(result, dict)
    assert result["success"] is True


def test_the_outstanding_balance_follows(app: Books) -> None:
    customer = app.customer(opening_balance=200)
    payment, invoice = app.payment(customer, 800), app.invoice(customer, 1000)
    assert app.value("select public.calculate_customer_outstanding(%s)", customer) == 1200
    app.allocate_directly(payment, invoice, 300)
    app.run("select public.update_invoice_status(%s)", invoice)
    assert app.value("select public.calculate_customer_outstanding(%s)", customer) == 900


def test_everything_can_be_read(app: Books) -> None:
    for (table,) in app.rows(
        "select tablename from pg_tables where schemaname = 'public' order by 1"
    ):
        app.rows(f"select * from public.{table} limit 1")


def test_the_compensation_that_comes_with_the_next_gap_is_missing_as_before(
    dairy_001: Database,
) -> None:
    with pytest.raises(psycopg.errors.UndefinedFunction):
        signed_in(dairy_001).run("select public.rollback_partial_allocation(%s)", UUID(int=1))


def test_a_refused_allocation_is_compensated_by_a_call_that_undoes_nothing_good(
    dairy_hardened: Database,
) -> None:
    app = signed_in(dairy_hardened)
    customer = app.customer()
    payment, invoice = app.payment(customer, 800), app.invoice(customer, 1000)
    app.allocate(payment, {invoice: 300})
    with refused("allocation_exceeds_payment", status=409):
        app.allocate(payment, {invoice: 501})
    compensated = app.rows("select * from public.rollback_partial_allocation(%s)", payment)
    assert compensated == [(True, 0, 0, False)]
    assert app.payment_totals(payment) == (300, 500, "partially_applied")


def test_the_rest_of_a_day_is_kept(app: Books) -> None:
    route = app.value("insert into public.routes (name) values ('North') returning id")
    product = app.value(
        "insert into public.products (name, code, current_price) values ('Ghee', 'GH', 600)"
        " returning id"
    )
    app.run(
        "insert into public.product_pricing_history (product_id, price, effective_date)"
        " values (%s, 600, '2025-09-01')",
        product,
    )
    customer = app.customer()
    app.run(
        "insert into public.base_subscriptions (customer_id, product_id, subscription_type,"
        " daily_quantity) values (%s, %s, 'Daily', 1)",
        customer,
        product,
    )
    app.run(
        "insert into public.modifications (customer_id, product_id, modification_type,"
        " start_date, end_date) values (%s, %s, 'Skip', '2025-09-02', '2025-09-03')",
        customer,
        product,
    )
    order = app.value(
        "insert into public.daily_orders (customer_id, product_id, order_date, planned_quantity,"
        " unit_price, total_amount, route_id) values (%s, %s, '2025-09-04', 1, 600, 600, %s)"
        " returning id",
        customer,
        product,
        route,
    )
    app.run(
        "insert into public.deliveries (daily_order_id, customer_id, product_id, route_id,"
        " order_date, actual_quantity, unit_price, total_amount)"
        " values (%s, %s, %s, %s, '2025-09-04', 1, 600, 600)",
        order,
        customer,
        product,
        route,
    )
    confirmed = app.run(
        "update public.deliveries set delivery_status = 'delivered', delivered_at = now()"
        " where daily_order_id = %s",
        order,
    )
    assert confirmed == 1
    for table, column, value in (
        ("deliveries", "daily_order_id", order),
        ("daily_orders", "id", order),
        ("modifications", "customer_id", customer),
        ("base_subscriptions", "customer_id", customer),
        ("customers", "id", customer),
        ("product_pricing_history", "product_id", product),
        ("products", "id", product),
        ("routes", "id", route),
    ):
        assert app.run(f"update public.{table} set updated_at = now() where {column} = %s", value)
        assert app.run(f"delete from public.{table} where {column} = %s", value)


def test_the_back_office_writes_what_the_app_writes(dairy_hardened: Database) -> None:
    office = Books(dairy_hardened.connect(role="service_role", autocommit=True))
    customer = office.customer(opening_balance=50)
    payment, invoice = office.payment(customer, 800), office.invoice(customer, 1000)
    office.allocate_directly(payment, invoice, 300)
    office.run(
        "update public.unapplied_payments set reason = 'imported' where payment_id = %s", payment
    )
    assert office.unapplied(payment) == [500]
    assert office.value("select public.calculate_customer_outstanding(%s)", customer) == 750
