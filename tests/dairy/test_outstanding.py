"""What a customer owes: one figure, what it consists of, and both ways of computing it compared."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from dairy.books import Books, refused
from support.databases import ROOT, Database

STATE = ROOT / "sql" / "state"

AUGUST, SEPTEMBER = date(2025, 8, 31), date(2025, 9, 30)


@pytest.fixture
def books(dairy_008: Database) -> Books:
    """The books with the gaps up to 008 fixed, kept by the owner; every statement commits."""
    return Books(dairy_008.connect(autocommit=True))


def record(books: Books, call: str, *arguments: object) -> dict[str, Any]:
    with books.connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(f"select * from public.{call}".encode(), arguments).fetchone()
    assert row is not None
    return row


def breakdown(books: Books, customer: UUID | None, as_of: date | None = None) -> dict[str, Any]:
    return record(
        books, "outstanding_breakdown(p_customer_id => %s, p_as_of => %s)", customer, as_of
    )


def validation(books: Books, customer: UUID | None) -> dict[str, Any]:
    return record(books, "validate_outstanding(p_customer_id => %s)", customer)


def outstanding(books: Books, customer: UUID | None) -> Any:  # noqa: ANN401 - what SQL gives
    return books.value(
        "select public.calculate_customer_outstanding(customer_uuid => %s)", customer
    )


def dated_invoice(books: Books, customer: UUID, total: int, made: date, due: date | None) -> UUID:
    """An invoice of one day, whose date the test chooses."""
    invoice = books.invoice(customer, total, due=due)
    books.run("update public.invoice_metadata set invoice_date = %s where id = %s", made, invoice)
    return invoice


def pay_opening(books: Books, customer: UUID, payment: UUID, amount: int) -> None:
    books.run(
        "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
        " values (%s, %s, %s)",
        customer,
        payment,
        amount,
    )


def behind_the_triggers(books: Books, table: str, statement: str, *arguments: object) -> None:
    """Write what nobody but a superuser could: the guards of the table are off for a moment."""
    with books.connection.transaction():
        books.run(f"alter table public.{table} disable trigger user")
        books.run(statement, *arguments)
        books.run(f"alter table public.{table} enable trigger user")


@pytest.fixture
def customer(books: Books) -> UUID:
    """One who owes 500 of old, 1,000 for August and 400 for September, and has paid 900.

    On 10 September 600 came: 200 for the opening balance, 300 for August, 100 left. On 5 October
    300 came: 250 for August, 50 left.
    """
    customer = books.customer(opening_balance=500)
    august = dated_invoice(books, customer, 1000, AUGUST, date(2025, 9, 15))
    dated_invoice(books, customer, 400, SEPTEMBER, date(2025, 10, 15))
    first = books.payment(customer, 600, paid_on=date(2025, 9, 10))
    pay_opening(books, customer, first, 200)
    books.allocate(first, {august: 300})
    second = books.payment(customer, 300, paid_on=date(2025, 10, 5))
    books.allocate(second, {august: 250})
    return customer


def test_it_is_opening_balance_and_invoices_less_what_is_paid_of_them(
    books: Books, customer: UUID
) -> None:
    assert outstanding(books, customer) == 500 - 200 + 1000 - 550 + 400


def test_the_breakdown_says_what_it_consists_of(books: Books, customer: UUID) -> None:
    assert breakdown(books, customer, date(2025, 10, 20)) == {
        "customer_id": customer,
        "as_of": date(2025, 10, 20),
        "opening_balance": 500,
        "opening_balance_paid": 200,
        "opening_balance_remaining": 300,
        "invoices_issued": 2,
        "invoices_unpaid": 2,
        "invoices_outstanding": 850,
        "invoices_overdue": 2,
        "overdue": 850,
        "ageing": {
            "not_due": 0,
            "days_1_to_30": 400,
            "days_31_to_60": 450,
            "days_61_to_90": 0,
            "days_over_90": 0,
        },
        "outstanding": 1150,
        "credit": 150,
        "net": 1000,
        "balance": "1000.00",
    }


@pytest.mark.parametrize(
    ("as_of", "parts"),  # opening balance, invoices, overdue, credit
    [
        (date(2025, 8, 30), (500, 0, 0, 0)),
        (AUGUST, (500, 1000, 0, 0)),
        (date(2025, 9, 9), (500, 1000, 0, 0)),
        (date(2025, 9, 10), (300, 700, 0, 100)),
        (date(2025, 9, 15), (300, 700, 0, 100)),
        (date(2025, 9, 16), (300, 700, 700, 100)),
        (SEPTEMBER, (300, 1100, 700, 100)),
        (date(2025, 10, 5), (300, 850, 450, 150)),
        (date(2025, 10, 16), (300, 850, 850, 150)),
    ],
    ids=str,
)
def test_as_of_a_day(
    books: Books, customer: UUID, as_of: date, parts: tuple[int, int, int, int]
) -> None:
    found = breakdown(books, customer, as_of)
    opening, invoices, overdue, credit = parts
    assert (
        found["opening_balance_remaining"],
        found["invoices_outstanding"],
        found["overdue"],
        found["credit"],
    ) == parts
    assert found["outstanding"] == opening + invoices
    assert found["net"] == opening + invoices - credit
    assert sum(found["ageing"].values()) == invoices
    assert found["overdue"] == overdue == invoices - found["ageing"]["not_due"]


def test_an_invoice_that_is_paid_is_neither_unpaid_nor_overdue(
    books: Books, customer: UUID
) -> None:
    on_day = date(2025, 10, 20)
    before = breakdown(books, customer, on_day)
    paid = dated_invoice(books, customer, 70, AUGUST, date(2025, 9, 15))
    books.allocate(books.payment(customer, 70), {paid: 70})
    assert breakdown(books, customer, on_day) == before | {
        "invoices_issued": before["invoices_issued"] + 1
    }


@pytest.mark.parametrize(
    ("days", "bucket"),
    [
        (0, "not_due"),
        (1, "days_1_to_30"),
        (30, "days_1_to_30"),
        (31, "days_31_to_60"),
        (60, "days_31_to_60"),
        (61, "days_61_to_90"),
        (90, "days_61_to_90"),
        (91, "days_over_90"),
    ],
)
def test_ageing_counts_the_days_since_an_invoice_was_due(
    books: Books, days: int, bucket: str
) -> None:
    customer, due = books.customer(), date(2025, 9, 15)
    dated_invoice(books, customer, 70, AUGUST, due)
    ageing = breakdown(books, customer, due + timedelta(days=days))["ageing"]
    assert {name for name, owed in ageing.items() if owed} == {bucket}


def test_money_was_credit_until_the_day_of_what_it_pays(books: Books) -> None:
    customer = books.customer()
    payment = books.payment(customer, 300, paid_on=date(2025, 8, 1))
    invoice = dated_invoice(books, customer, 300, AUGUST, None)
    books.allocate(payment, {invoice: 300})
    before, after = (breakdown(books, customer, day) for day in (date(2025, 8, 30), AUGUST))
    assert (before["outstanding"], before["credit"], before["net"]) == (0, 300, -300)
    assert before["balance"] == "300.00 Cr."
    assert (after["outstanding"], after["credit"], after["net"]) == (0, 0, 0)
    assert after["balance"] == "0.00"


def test_money_was_credit_until_the_day_of_the_sale_that_it_pays(books: Books) -> None:
    customer, other = books.customer(), books.customer()
    for buyer, day in ((customer, AUGUST), (other, date(2025, 8, 1))):
        payment = books.payment(buyer, 300, paid_on=date(2025, 8, 1))
        sale = books.value(
            "insert into public.sales (customer_id, product_id, quantity, unit_price,"
            " total_amount, sale_type, payment_status, sale_date)"
            " select %s, id, 1, 120, 120, 'Credit', 'Pending', %s from public.products limit 1"
            " returning id",
            buyer,
            day,
        )
        books.run(
            "insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
            " values (%s, %s, 120)",
            sale,
            payment,
        )
    on_the_day_before, on_the_day = (
        breakdown(books, customer, day)["credit"] for day in (date(2025, 8, 30), AUGUST)
    )
    assert (on_the_day_before, on_the_day) == (300, 180)


def test_null_is_the_dairys_today(books: Books) -> None:
    customer = books.customer()
    today = books.value("select public.business_today()")
    dated_invoice(books, customer, 100, today, today)
    dated_invoice(books, customer, 70, today, today - timedelta(days=1))
    dated_invoice(books, customer, 30, today + timedelta(days=1), None)
    assert breakdown(books, customer) == breakdown(books, customer, today)
    assert breakdown(books, customer)["as_of"] == today
    assert breakdown(books, customer)["outstanding"] == 170
    assert breakdown(books, customer)["overdue"] == 70
    assert record(books, "outstanding_breakdown(%s)", customer) == breakdown(books, customer)
    # what is booked counts, whatever day it bears
    assert outstanding(books, customer) == 200


def test_an_invoice_is_overdue_by_the_dairys_calendar_whatever_its_status_says(
    books: Books,
) -> None:
    customer = books.customer()
    today = books.value("select public.business_today()")
    invoice = dated_invoice(books, customer, 100, date(2025, 9, 1), today)
    # the status is refreshed by update_invoice_status; a read does not wait for that
    behind_the_triggers(
        books,
        "invoice_metadata",
        "update public.invoice_metadata set due_date = %s where id = %s",
        today - timedelta(days=1),
        invoice,
    )
    status = "select invoice_status from public.invoice_metadata where id = %s"
    assert books.value(status, invoice) == "sent"
    assert breakdown(books, customer)["overdue"] == 100


def test_a_server_in_utc_is_a_day_behind_after_midnight_in_the_dairy(books: Books) -> None:
    assert books.value("select public.business_today() = (now() at time zone 'Asia/Kolkata')::date")
    for zone in ("UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"):
        books.run(f"set timezone = '{zone}'")
        assert breakdown(books, books.customer())["as_of"] == books.value(
            "select (now() at time zone 'Asia/Kolkata')::date"
        )


@pytest.mark.parametrize("status", ["draft", "cancelled"])
def test_what_is_not_issued_is_not_owed(books: Books, status: str) -> None:
    customer = books.customer()
    books.invoice(customer, 1000, status=status)
    assert outstanding(books, customer) == 0
    assert breakdown(books, customer)["outstanding"] == 0
    assert validation(books, customer)["valid"]


def test_money_on_a_draft_is_neither_owed_nor_credit(books: Books) -> None:
    customer = books.customer()
    payment, draft = books.payment(customer, 300), books.invoice(customer, 1000, status="draft")
    books.allocate(payment, {draft: 100})
    assert outstanding(books, customer) == 0
    assert breakdown(books, customer)["credit"] == 200
    assert validation(books, customer)["valid"]


def test_a_deleted_invoice_is_out(books: Books, customer: UUID) -> None:
    before = outstanding(books, customer)
    gone = dated_invoice(books, customer, 70, AUGUST, None)
    books.run(
        "update public.invoice_metadata set deleted_at = now(), deleted_by = 'a test',"
        " status_before_deletion = 'sent', invoice_status = 'cancelled' where id = %s",
        gone,
    )
    assert outstanding(books, customer) == before
    assert breakdown(books, customer)["outstanding"] == before
    assert validation(books, customer)["valid"]


def test_a_voided_payment_is_out(books: Books, customer: UUID) -> None:
    before = breakdown(books, customer)
    voided = books.payment(customer, 777)
    assert breakdown(books, customer)["credit"] == before["credit"] + 777
    books.run(
        "update public.payments set voided_at = now(), voided_by = 'a test',"
        " void_reason = 'bounced' where id = %s",
        voided,
    )
    assert breakdown(books, customer) == before
    assert outstanding(books, customer) == before["outstanding"]
    assert validation(books, customer)["valid"]


@pytest.mark.parametrize("function", [outstanding, breakdown, validation])
def test_an_unknown_customer_is_refused_and_does_not_owe_nothing(
    books: Books,
    function: Any,  # noqa: ANN401 - three signatures
) -> None:
    nobody = uuid4()
    with refused("customer_not_found", status=404) as facts:
        function(books, nobody)
    assert facts == {"customer_id": str(nobody)}
    with refused("customer_required", status=400):
        function(books, None)


@pytest.mark.parametrize(
    "as_of", ["infinity", "-infinity", "4713-01-01 BC", "10000-01-01", "1899-12-31"]
)
def test_a_day_that_no_calendar_of_a_dairy_has_is_refused(books: Books, as_of: str) -> None:
    customer = books.customer()
    with refused("date_invalid", status=400):
        books.rows("select * from public.outstanding_breakdown(%s, %s::date)", customer, as_of)


@pytest.mark.parametrize("as_of", [date(1900, 1, 1), date(9999, 12, 31)], ids=str)
def test_the_first_and_the_last_day_are_answered(books: Books, customer: UUID, as_of: date) -> None:
    due = dated_invoice(books, customer, 10, AUGUST, None)
    books.run("update public.invoice_metadata set due_date = 'infinity' where id = %s", due)
    assert breakdown(books, customer, as_of)["as_of"] == as_of


def test_valid_when_both_ways_agree(books: Books, customer: UUID) -> None:
    assert validation(books, customer) == {
        "customer_id": customer,
        "valid": True,
        "counted_outstanding": 1150,
        "summed_outstanding": 1150,
        "outstanding_difference": 0,
        "counted_credit": 150,
        "summed_credit": 150,
        "credit_difference": 0,
        "differences": [],
    }


def test_a_counter_of_an_invoice_that_drifted_is_reported(books: Books, customer: UUID) -> None:
    invoice = books.invoice(customer, 100)
    behind_the_triggers(
        books,
        "invoice_metadata",
        "update public.invoice_metadata set amount_paid = 60, amount_outstanding = 40"
        " where id = %s",
        invoice,
    )
    found = validation(books, customer)
    assert not found["valid"]
    assert found["outstanding_difference"] == -60
    assert found["counted_outstanding"] == outstanding(books, customer) == 1190
    assert found["summed_outstanding"] == breakdown(books, customer)["outstanding"] == 1250
    assert found["differences"] == [
        {
            "entity": "invoice",
            "entity_id": str(invoice),
            "figure": figure,
            "counted": counted,
            "summed": summed,
        }
        for figure, counted, summed in (("amount_outstanding", 40, 100), ("amount_paid", 60, 0))
    ]


def test_a_counter_of_a_payment_that_drifted_is_reported(books: Books, customer: UUID) -> None:
    payment = books.payment(customer, 90)
    behind_the_triggers(
        books,
        "payments",
        "update public.payments set amount_applied = 90, amount_unapplied = 0 where id = %s",
        payment,
    )
    found = validation(books, customer)
    assert not found["valid"]
    assert found["credit_difference"] == -90
    assert [(each["figure"], each["summed"]) for each in found["differences"]] >= [
        ("amount_applied", 0),
        ("amount_unapplied", 90),
    ]


def test_differences_that_cancel_each_other_out_are_reported(books: Books, customer: UUID) -> None:
    one, other = books.invoice(customer, 100), books.invoice(customer, 100)
    behind_the_triggers(
        books,
        "invoice_metadata",
        "update public.invoice_metadata set amount_outstanding = case id when %s then 90 else 110"
        " end where id in (%s, %s)",
        one,
        one,
        other,
    )
    found = validation(books, customer)
    assert found["outstanding_difference"] == 0
    assert not found["valid"]
    assert len(found["differences"]) == 2


def test_a_counted_opening_balance_that_drifted_is_reported(books: Books, customer: UUID) -> None:
    behind_the_triggers(
        books,
        "customers",
        "update public.customers set opening_balance_paid = 500 where id = %s",
        customer,
    )
    found = validation(books, customer)
    assert not found["valid"]
    assert found["outstanding_difference"] == -300
    assert found["differences"] == [
        {
            "entity": "customer",
            "entity_id": str(customer),
            "figure": "opening_balance_paid",
            "counted": 500,
            "summed": 200,
        }
    ]


def test_every_customer_of_the_dairy_is_valid_and_the_ways_agree(books: Books) -> None:
    differing = books.rows(
        "select customer.id from public.customers as customer"
        " cross join lateral public.validate_outstanding(customer.id) as found"
        " cross join lateral public.outstanding_breakdown(customer.id) as parts"
        " where not found.valid or parts.outstanding <> found.summed_outstanding"
        " or parts.credit <> found.summed_credit"
    )
    assert differing == []


def test_the_figures_that_a_deploy_watches_are_the_same(books: Books, customer: UUID) -> None:
    voided, gone = books.payment(customer, 70), books.invoice(customer, 70)
    books.run("select public.void_payment(%s, 'bounced')", voided)
    books.run("select public.delete_invoice_safe(%s)", gone)
    balances = {
        UUID(key): (owed, credit)
        for key, _, owed, credit in books.rows((STATE / "customer_balances.sql").read_text())
    }
    assert balances[customer] == (1150, 150)
    for other, figures in balances.items():
        found = breakdown(books, other)
        assert figures == (found["outstanding"], found["credit"])
    totals = dict(books.rows((STATE / "totals.sql").read_text()))
    assert totals["outstanding"] == sum(owed for owed, _ in balances.values())
    assert totals["unapplied"] == sum(credit for _, credit in balances.values())


@pytest.mark.parametrize("role", ["authenticated", "service_role"])
def test_the_app_and_the_back_office_may_ask(dairy_008: Database, role: str) -> None:
    owner = Books(dairy_008.connect(autocommit=True))
    customer = owner.customer(opening_balance=Decimal("12.50"))
    asking = Books(dairy_008.connect(role=role, autocommit=True))
    assert outstanding(asking, customer) == Decimal("12.50")
    assert breakdown(asking, customer)["net"] == Decimal("12.50")
    assert validation(asking, customer)["valid"]


def test_nobody_else_may(dairy_008: Database) -> None:
    stranger = Books(dairy_008.connect(role="anon", autocommit=True))
    for function in (outstanding, breakdown, validation):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            function(stranger, uuid4())


def test_row_security_that_hides_invoices_hides_no_debt(dairy_008: Database) -> None:
    owner = Books(dairy_008.connect(autocommit=True))
    customer = owner.customer()
    owner.invoice(customer, 1000)
    owner.run('drop policy "Allow all for authenticated" on public.invoice_metadata')
    app = Books(dairy_008.connect(role="authenticated", autocommit=True))
    assert app.rows("select id from public.invoice_metadata") == []
    assert outstanding(app, customer) == 1000


def test_the_functions_write_nothing(books: Books, customer: UUID) -> None:
    books.run("set default_transaction_read_only = on")
    outstanding(books, customer)
    breakdown(books, customer)
    validation(books, customer)
