"""Invoices: gaps 006, 007, 008 and 010, as the contract says it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest

from contract.app import Dairy, Ids, columns_of, refused, ruled_out

AUGUST = (date(2025, 8, 1), date(2025, 8, 31))
SEPTEMBER = (date(2025, 9, 1), date(2025, 9, 30))


def sale_status(dairy: Dairy, sale: UUID) -> str:
    return str(dairy.app.value("select payment_status from public.sales where id = %s", sale))


def generate(dairy: Dairy, customer: UUID, period: tuple[date, date] = AUGUST) -> UUID:
    answer = dairy.app.rpc(
        "generate_invoice_atomic",
        p_customer_id=customer,
        p_period_start=period[0],
        p_period_end=period[1],
    )
    return UUID(str(answer["invoice_id"]))


def with_deliveries(dairy: Dairy, *, billing_cycle_day: int | None = None) -> UUID:
    """A customer with three deliveries and a Credit sale in August: 180.75 + 120."""
    customer = dairy.customer(billing_cycle_day=billing_cycle_day)
    for day, price in ((1, "60.25"), (2, "60.25"), (31, "60.25")):
        dairy.delivery(customer, 1, price, date(2025, 8, day))
    dairy.sale(customer, 120, date(2025, 8, 15))
    return customer


def test_an_invoice_bills_deliveries_and_sales_to_the_paisa(dairy_app: Dairy) -> None:
    customer = with_deliveries(dairy_app, billing_cycle_day=31)
    sale = dairy_app.app.value("select id from public.sales where customer_id = %s", customer)
    invoice = generate(dairy_app, customer)
    row = dairy_app.invoice_row(invoice)
    assert columns_of(
        row, "total_amount", "subscription_amount", "manual_sales_amount", "invoice_status"
    ) == (Decimal("300.75"), Decimal("180.75"), 120, "sent")
    assert row["due_date"] == date(2025, 9, 30)
    assert row["invoice_date"] == dairy_app.app.value("select public.business_today()")
    year, month = row["invoice_date"].year, row["invoice_date"].month
    first = year if month >= 4 else year - 1
    assert row["invoice_number"].startswith(f"{first}{(first + 1) % 100:02}")
    assert len(row["invoice_number"]) == 11
    lines = dairy_app.app.rows(
        "select line_total from public.invoice_line_items where invoice_id = %s", invoice
    )
    assert len(lines) == 4
    assert sum(line["line_total"] for line in lines) == row["total_amount"]
    assert sale_status(dairy_app, sale) == "Billed"
    dairy_app.assert_sound()


def test_the_same_period_twice_is_refused_and_so_is_an_overlap(dairy_app: Dairy) -> None:
    customer = with_deliveries(dairy_app)
    generate(dairy_app, customer)
    with refused():
        generate(dairy_app, customer)
    dairy_app.delivery(customer, 1, 60, date(2025, 9, 2))
    with refused(status=409):
        generate(dairy_app, customer, (date(2025, 8, 31), date(2025, 9, 30)))
    with ruled_out():
        dairy_app.invoice(customer, 5, period_start=date(2025, 8, 31), period_end=date(2025, 9, 30))
    generate(dairy_app, customer, SEPTEMBER)
    dairy_app.assert_sound()


def test_nothing_to_bill_makes_no_invoice(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    with refused(status=422):
        generate(dairy_app, customer)
    with refused(status=404):
        generate(dairy_app, uuid4())
    with refused(status=400):
        generate(dairy_app, customer, (AUGUST[1], AUGUST[0]))


def test_a_late_delivery_goes_onto_the_next_invoice_and_each_is_billed_once(
    dairy_app: Dairy,
) -> None:
    customer = with_deliveries(dairy_app)
    generate(dairy_app, customer)
    late = dairy_app.delivery(customer, 1, "41.10", date(2025, 8, 20))
    dairy_app.delivery(customer, 1, "10", date(2025, 9, 3))
    invoice = generate(dairy_app, customer, SEPTEMBER)
    assert dairy_app.invoice_row(invoice)["total_amount"] == Decimal("51.10")
    with ruled_out():
        dairy_app.app.insert(
            "invoice_line_items",
            invoice_id=dairy_app.invoice(customer, 5),
            line_item_type="subscription",
            delivery_id=late,
            quantity=1,
            unit_price=5,
            line_total=5,
        )
    dairy_app.assert_sound()


def test_a_delivery_whose_total_is_wrong_stops_its_invoice(dairy_app: Dairy) -> None:
    customer = with_deliveries(dairy_app)
    dairy_app.app.run(
        "update public.deliveries set total_amount = 1 where customer_id = %s"
        " and order_date = '2025-08-02'",
        customer,
    )
    with refused():
        generate(dairy_app, customer)
    assert dairy_app.app.value("select count(*) from public.invoice_metadata") == 0


def test_two_callers_make_one_invoice(dairy_app: Dairy) -> None:
    customers = [with_deliveries(dairy_app) for _ in range(3)]
    sessions = [dairy_app.session() for _ in range(6)]

    def run(number: int) -> str:
        try:
            sessions[number].rpc(
                "generate_invoice_atomic",
                p_customer_id=customers[number % 3],
                p_period_start=AUGUST[0],
                p_period_end=AUGUST[1],
            )
        except psycopg.Error as error:
            return error.sqlstate or ""
        return "done"

    with ThreadPoolExecutor(6) as pool:
        outcomes = sorted(pool.map(run, range(6)))
    assert outcomes[3:] == ["done"] * 3
    assert all(outcome.startswith("PT4") for outcome in outcomes[:3])
    numbers = sorted(
        int(row["invoice_number"][6:])
        for row in dairy_app.app.rows("select invoice_number from public.invoice_metadata")
    )
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    dairy_app.assert_sound()


def test_numbers_are_given_once_and_a_failed_run_leaves_no_hole(dairy_app: Dairy) -> None:
    first = dairy_app.office.value(
        "select public.next_invoice_number(p_financial_year => '203132')"
    )
    assert first == "20313200001"
    session = dairy_app.database.connect(role="service_role")
    session.execute("select public.next_invoice_number('203132')")
    session.rollback()
    assert dairy_app.office.value("select public.next_invoice_number('203132')") == "20313200002"
    for year in (None, "", "2031", "20313", "203133", "abcdef", "2031-32"):
        with refused(status=400):
            dairy_app.office.value("select public.next_invoice_number(%s)", year)
    one, two = (
        dairy_app.app.value("select public.get_next_invoice_sequence('203233')") for _ in range(2)
    )
    assert one != two


def test_a_month_for_everybody(dairy_app: Dairy) -> None:
    customers = [with_deliveries(dairy_app) for _ in range(4)]
    idle = dairy_app.customer()
    answer = dairy_app.app.rpc(
        "generate_bulk_invoices_atomic",
        p_period_start=AUGUST[0],
        p_period_end=AUGUST[1],
        p_customer_ids=Ids([*customers, idle]),
    )
    assert answer["success"]
    made = dairy_app.app.rows("select customer_id, total_amount from public.invoice_metadata")
    assert {row["customer_id"] for row in made} == set(customers)
    assert {row["total_amount"] for row in made} == {Decimal("300.75")}
    dairy_app.assert_sound()


def test_a_month_is_made_whole_or_not_at_all(dairy_app: Dairy) -> None:
    customers = [with_deliveries(dairy_app) for _ in range(3)]
    generate(dairy_app, customers[1])
    run = {
        "p_period_start": AUGUST[0],
        "p_period_end": AUGUST[1],
        "p_customer_ids": Ids(customers),
    }
    with refused(status=409):
        dairy_app.app.rpc("generate_bulk_invoices_atomic", **run)
    assert dairy_app.app.value("select count(*) from public.invoice_metadata") == 1
    dairy_app.app.rpc("generate_bulk_invoices_atomic", **run, p_validate_existing=False)
    assert dairy_app.app.value("select count(*) from public.invoice_metadata") == 3
    dairy_app.assert_sound()


def test_bulk_deletion_is_for_the_back_office_and_spares_paid_invoices(dairy_app: Dairy) -> None:
    customers = [with_deliveries(dairy_app) for _ in range(3)]
    invoices = Ids([generate(dairy_app, customer) for customer in customers])
    dairy_app.allocate(dairy_app.payment(customers[0], 50), (invoices[0], 50))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        dairy_app.app.rpc("delete_bulk_invoices_safe", p_invoice_ids=invoices)
    with refused(status=409):
        dairy_app.office.rpc("delete_bulk_invoices_safe", p_invoice_ids=invoices)
    dairy_app.office.rpc(
        "delete_bulk_invoices_safe", p_invoice_ids=invoices, p_validate_payments=False
    )
    states = [dairy_app.invoice_row(i)["deleted_at"] is not None for i in invoices]
    assert states == [False, True, True]
    dairy_app.assert_sound()


def test_deleting_touches_its_own_sales_alone(dairy_app: Dairy) -> None:
    customer = with_deliveries(dairy_app)
    (billed,) = dairy_app.app.rows("select id from public.sales where customer_id = %s", customer)
    invoice = generate(dairy_app, customer)
    # another invoice of the same days' sales, billed with September's
    other = dairy_app.sale(customer, 75, date(2025, 8, 16))
    dairy_app.delivery(customer, 1, 10, date(2025, 9, 2))
    generate(dairy_app, customer, SEPTEMBER)
    assert sale_status(dairy_app, other) == "Billed"
    dairy_app.app.rpc("delete_invoice_safe", p_invoice_id=invoice)
    assert sale_status(dairy_app, billed["id"]) == "Pending"
    assert sale_status(dairy_app, other) == "Billed"
    row = dairy_app.invoice_row(invoice)
    assert row["deleted_at"] is not None
    assert row["invoice_status"] == "cancelled"
    again = generate(dairy_app, customer)
    assert dairy_app.invoice_row(again)["total_amount"] == Decimal("300.75")
    with refused(status=409):
        dairy_app.app.rpc("recover_invoice", p_invoice_id=invoice)
    dairy_app.assert_sound()


def test_an_invoice_that_holds_money_is_not_deleted_whatever_flag_says(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    invoice = dairy_app.invoice(customer, 500)
    dairy_app.allocate(dairy_app.payment(customer, 100), (invoice, 100))
    for permanent in (False, True, None):
        with refused(status=409):
            dairy_app.app.rpc("delete_invoice_safe", p_invoice_id=invoice, p_permanent=permanent)
    with ruled_out():
        dairy_app.app.run(
            "update public.invoice_metadata set invoice_status = 'cancelled' where id = %s", invoice
        )
    dairy_app.assert_sound()


def test_a_deleted_invoice_comes_back_as_it_was(dairy_app: Dairy) -> None:
    customer = with_deliveries(dairy_app)
    (sale,) = dairy_app.app.rows("select id from public.sales where customer_id = %s", customer)
    invoice = generate(dairy_app, customer)
    before = dairy_app.invoice_row(invoice)
    dairy_app.app.rpc("delete_invoice_safe", p_invoice_id=invoice)
    dairy_app.app.rpc("recover_invoice", p_invoice_id=invoice)
    after = dairy_app.invoice_row(invoice)
    names = ("invoice_number", "total_amount", "invoice_status", "deleted_at", "amount_outstanding")
    assert columns_of(after, *names) == columns_of(before, *names)
    assert sale_status(dairy_app, sale["id"]) == "Billed"
    with refused():
        dairy_app.app.rpc("recover_invoice", p_invoice_id=invoice)
    with refused(status=404):
        dairy_app.app.rpc("recover_invoice", p_invoice_id=uuid4())
    dairy_app.assert_sound()


def test_permanently_deleted_is_gone_but_for_the_audit(dairy_app: Dairy) -> None:
    customer = with_deliveries(dairy_app)
    invoice = generate(dairy_app, customer)
    dairy_app.app.rpc("delete_invoice_safe", p_invoice_id=invoice, p_permanent=True)
    assert dairy_app.app.rows("select from public.invoice_metadata where id = %s", invoice) == []
    assert dairy_app.owner.rows(
        "select from public.audit_trail as a where to_jsonb(a)::text like %s", f"%{invoice}%"
    )
    dairy_app.assert_sound()


def test_the_audit_trail_is_only_ever_appended_to(dairy_app: Dairy) -> None:
    customer = with_deliveries(dairy_app)
    dairy_app.app.rpc("delete_invoice_safe", p_invoice_id=generate(dairy_app, customer))
    assert dairy_app.owner.value("select count(*) from public.audit_trail") > 0
    for session in (dairy_app.owner, dairy_app.office, dairy_app.app):
        for statement in (
            "update public.audit_trail set reason = 'none'",
            "delete from public.audit_trail",
            "truncate public.audit_trail",
        ):
            with pytest.raises(psycopg.Error):
                session.run(statement)


def test_outstanding_in_two_ways(dairy_app: Dairy) -> None:
    customer = dairy_app.customer(opening_balance=1000)
    dairy_app.invoice(customer, 100, invoice_status="draft")
    dairy_app.invoice(customer, 100, invoice_status="cancelled")
    deleted = dairy_app.invoice(customer, 100)
    dairy_app.app.rpc("delete_invoice_safe", p_invoice_id=deleted)
    invoice = dairy_app.invoice(customer, 500)
    payment = dairy_app.payment(customer, 800)
    dairy_app.allocate(payment, (invoice, 200))
    dairy_app.app.rpc(
        "allocate_opening_balance_atomic",
        p_payment_id=payment,
        p_customer_id=customer,
        p_amount=400,
    )
    outstanding = dairy_app.app.value(
        "select public.calculate_customer_outstanding(customer_uuid => %s)", customer
    )
    assert outstanding == 1000 - 400 + 500 - 200
    found = dairy_app.app.rpc("outstanding_breakdown", p_customer_id=customer, p_as_of=None)
    assert found["credit"] == 200
    assert found["net"] == 700
    assert dairy_app.app.rpc("validate_outstanding", p_customer_id=customer)
    for function, arguments in (
        ("calculate_customer_outstanding", {"customer_uuid": uuid4()}),
        ("outstanding_breakdown", {"p_customer_id": uuid4(), "p_as_of": None}),
        ("validate_outstanding", {"p_customer_id": uuid4()}),
    ):
        with refused(status=404):
            dairy_app.app.rpc(function, **arguments)


def test_overdue_is_by_the_dairys_day(dairy_app: Dairy) -> None:
    today = dairy_app.app.value("select public.business_today()")
    customer = dairy_app.customer()
    late = dairy_app.invoice(customer, 5, due_date=today - timedelta(days=1))
    due = dairy_app.invoice(customer, 5, due_date=today)
    for invoice in (late, due):
        dairy_app.app.run("select public.update_invoice_status(%s)", invoice)
        dairy_app.app.run("select public.update_invoice_status_with_sales_completion(%s)", invoice)
    assert dairy_app.invoice_row(late)["invoice_status"] == "overdue"
    assert dairy_app.invoice_row(due)["invoice_status"] == "sent"


def test_a_paid_invoice_completes_its_sales(dairy_app: Dairy) -> None:
    customer = with_deliveries(dairy_app)
    (sale,) = dairy_app.app.rows("select id from public.sales where customer_id = %s", customer)
    invoice = generate(dairy_app, customer)
    payment = dairy_app.payment(customer, 500)
    with refused(status=409):
        dairy_app.app.rpc(
            "allocate_payment_to_sales_atomic",
            p_payment_id=payment,
            p_allocations=[{"saleId": str(sale["id"]), "amount": 120}],
        )
    with ruled_out():
        dairy_app.app.insert(
            "sales_payments", sales_id=sale["id"], payment_id=payment, amount_allocated=120
        )
    dairy_app.allocate(payment, (invoice, "300.75"))
    assert sale_status(dairy_app, sale["id"]) == "Completed"
    dairy_app.app.run("delete from public.invoice_payments where payment_id = %s", payment)
    assert sale_status(dairy_app, sale["id"]) == "Billed"
    dairy_app.app.run(
        "update public.sales set payment_status = 'Pending' where id = %s", sale["id"]
    )
    assert sale_status(dairy_app, sale["id"]) == "Billed"
    dairy_app.assert_sound()


def test_the_old_deletion_does_the_safe_thing(dairy_app: Dairy) -> None:
    customer = with_deliveries(dairy_app)
    invoice = generate(dairy_app, customer)
    other = dairy_app.sale(customer, 75, date(2025, 8, 16))
    dairy_app.app.run("update public.sales set payment_status = 'Completed' where id = %s", other)
    kept = sale_status(dairy_app, other)
    dairy_app.app.value("select public.delete_invoice_and_revert_sales(%s)", invoice)
    assert sale_status(dairy_app, other) == kept
    dairy_app.assert_sound()
