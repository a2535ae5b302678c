"""record_payment_atomic: one payment with everything that it pays, or nothing of it."""

import json
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from dairy.books import line, refused, ruled_out
from dairy.settling import Settling
from dairy.undoing import roll_back
from support.databases import Database


@pytest.fixture
def books(dairy_005: Database) -> Settling:
    """The books with gap 005 fixed, kept by the owner; every statement commits."""
    return Settling(dairy_005.connect(autocommit=True))


@pytest.fixture
def customer(books: Settling) -> UUID:
    """Who owes 500 from before."""
    return books.customer(opening_balance=500)


def payments(books: Settling) -> int:
    """How many payments there are."""
    found = books.value("select count(*) from public.payments")
    assert isinstance(found, int)
    return found


def test_it_records_and_allocates_in_one(books: Settling, customer: UUID) -> None:
    invoice, sale = books.invoice(customer, 300), books.sale(customer, 50)

    answer = books.record(
        customer_id=customer,
        amount="1000.00",
        payment_date="2025-09-30",
        payment_method="UPI",
        notes="at the gate",
        period_start="2025-08-01",
        period_end="2025-08-31",
        opening_balance=200,
        allocations=[line(invoice, 250)],
        sales=[{"saleId": str(sale)}],
    )

    payment = answer.pop("payment_id")
    assert answer == {
        "success": True,
        "allocated_amount": 500,
        "total_allocated": 500,
        "payment_amount": 1000,
        "unapplied_amount": 500,
        "allocation_status": "partially_applied",
        "applied": {
            "opening_balance": 200,
            "invoices": [{"invoice_id": str(invoice), "applied": 250}],
            "sales": [{"sale_id": str(sale), "applied": 50}],
        },
    }
    assert books.rows(
        "select customer_id, amount, payment_date, payment_method, notes, period_start, period_end"
        " from public.payments where id = %s",
        payment,
    ) == [
        (
            customer,
            1000,
            date(2025, 9, 30),
            "UPI",
            "at the gate",
            date(2025, 8, 1),
            date(2025, 8, 31),
        )
    ]
    assert books.opening_paid(customer) == 200
    assert books.invoice_totals(invoice) == (250, 50, "partially_paid")
    assert books.sale_state(sale) == (50, "Completed")
    assert books.unapplied(payment) == [500]
    assert books.broken() == []
    assert books.violations() == set()


def test_a_payment_alone(books: Settling, customer: UUID) -> None:
    answer = books.record(
        customer_id=customer, amount=100, allocations=[], sales=None, opening_balance=None
    )
    assert (answer["allocated_amount"], answer["unapplied_amount"]) == (0, 100)
    assert books.rows(
        "select payment_date = public.business_today(), payment_method, notes from public.payments"
    ) == [(True, None, None)]
    assert books.unapplied(answer["payment_id"]) == [100]


def test_a_payment_of_nobody_known(books: Settling) -> None:
    answer = books.record(amount="0.01", notes="found in the till")
    assert books.unapplied(answer["payment_id"]) == []
    assert books.broken() == []
    with refused("payment_without_customer", status=422):
        books.record(amount=1, opening_balance=1)


def test_the_app_may_call_it(dairy_005: Database, books: Settling, customer: UUID) -> None:
    for role in ("authenticated", "service_role"):
        clerk = Settling(dairy_005.connect(role=role, autocommit=True))
        clerk.record(customer_id=customer, amount=100, opening_balance=100)
    assert books.rows("select recorded_by from private.settlement_journal order by id") == [
        ("authenticated",),
        ("service_role",),
    ]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        Settling(dairy_005.connect(role="anon", autocommit=True)).record(amount=1)


def test_what_cannot_be_allocated_leaves_no_payment(books: Settling, customer: UUID) -> None:
    invoice, sale = books.invoice(customer, 300), books.sale(customer, 50)
    cancelled = books.invoice(customer, 300, status="cancelled")
    stranger = books.customer()
    for reason, keys in (
        (
            "allocation_exceeds_opening_balance",
            {"opening_balance": "500.01", "amount": 501},
        ),
        ("allocation_exceeds_payment", {"opening_balance": 500, "allocations": [line(invoice, 1)]}),
        (
            "allocation_exceeds_payment",
            {"opening_balance": 451, "sales": [{"saleId": str(sale)}], "amount": 500},
        ),
        ("allocation_exceeds_invoice", {"allocations": [line(invoice, 301)]}),
        ("invoice_cancelled", {"allocations": [line(cancelled, 1)]}),
        ("invoice_not_found", {"allocations": [line(uuid4(), 1)]}),
        ("invoice_named_twice", {"allocations": [line(invoice, 1), line(invoice, 1)]}),
        ("customer_mismatch", {"allocations": [line(books.invoice(stranger, 5), 1)]}),
        ("customer_mismatch", {"sales": [{"saleId": str(books.sale(stranger, 5))}]}),
        ("sale_not_found", {"sales": [{"saleId": str(uuid4())}]}),
        ("sale_paid_whole", {"sales": [{"saleId": str(sale), "amount": 49}]}),
        ("sale_named_twice", {"sales": [{"saleId": str(sale)}] * 2}),
        ("customer_not_found", {"customer_id": uuid4()}),
    ):
        given: dict[str, Any] = {"customer_id": customer, "amount": 500} | keys
        with refused(reason):
            books.record(**given)
        assert payments(books) == 0
    assert books.opening_paid(customer) == 0
    assert books.broken() == []


def test_malformed_payments_are_refused(books: Settling, customer: UUID) -> None:
    for given in (None, "null", "[]", '"text"', "5", "true"):
        with refused("payment_not_an_object", status=400):
            books.record_json(given)
    with refused("payment_key_unknown", status=400) as facts:
        books.record(customer_id=customer, amount=1, paymentDate="2025-09-01")
    assert facts["unknown"] == ["paymentDate"]
    for derived in ("id", "amount_applied", "allocation_status", "voided_at"):
        with refused("payment_key_unknown", status=400):
            books.record(**{"customer_id": customer, "amount": 1, derived: None})
    with refused("payment_key_unknown", status=400) as facts:
        books.record(amount=1, **{"k" * 100_000: 1})
    assert len(facts["unknown"][0]) == 200
    for field, value in (
        ("customer_id", "not-a-uuid"),
        ("customer_id", 5),
        ("customer_id", ""),
        ("customer_id", customer.hex),
        ("customer_id", f"g{str(customer)[1:]}"),
        ("customer_id", f"-{str(customer)[1:]}"),
        ("customer_id", [str(customer)]),
        ("payment_method", 5),
        ("payment_method", ["Cash"]),
        ("notes", {"text": "x"}),
    ):
        with refused("payment_field_malformed", status=400) as facts:
            books.record(**{"amount": 1, field: value})
        assert facts["field"] == field
    for amounts in ({}, {"amount": None}):
        with refused("amount_required", status=400):
            books.record(customer_id=customer, **amounts)
    for field in ("allocations", "sales"):
        for value in ({}, "[]", 5):
            with refused("allocations_not_a_list", status=400):
                books.record(**{"customer_id": customer, "amount": 1, field: value})
        with refused("allocation_malformed", status=400):
            books.record(**{"customer_id": customer, "amount": 1, field: [5]})
    assert payments(books) == 0


@pytest.mark.parametrize("field", ["amount", "opening_balance"])
def test_what_is_no_sum_of_money_is_refused(books: Settling, customer: UUID, field: str) -> None:
    for amount in (
        "0",
        "-1",
        "0.001",
        "1e400",
        "10000000000",
        "true",
        "[]",
        "{}",
        '""',
        '"NaN"',
        '"Infinity"',
        '" 5"',
        '"5.001"',
        '"1e2"',
        json.dumps("9" * 200_000),
    ):
        other = "opening_balance" if field == "amount" else "amount"
        with refused("amount_invalid", status=400) as facts:
            books.record_json(f'{{"customer_id": "{customer}", "{field}": {amount}, "{other}": 5}}')
        assert facts["field"] == field


@pytest.mark.parametrize("field", ["payment_date", "period_start", "period_end"])
def test_what_is_no_day_is_refused(books: Settling, customer: UUID, field: str) -> None:
    for day in (
        "",
        "today",
        "infinity",
        "2025-02-29",
        "2100-02-29",
        "2025-04-31",
        "2025-13-01",
        "2025-00-10",
        "2025-01-00",
        "0000-01-01",
        "20250901",
        "2025-9-1",
        "01/09/2025",
        "2025-09-30T00:00:00Z",
        "2025-09-30 ",
        "2025-09-30\n",
        "10000-01-01",
        "\u0662025-09-30",
        "9" * 100_000,
        20250901,
        ["2025-09-01"],
        True,
    ):
        with refused("date_invalid", status=400) as facts:
            books.record(**{"customer_id": customer, "amount": 1, field: day})
        assert facts["field"] == field
    for day in ("2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31", "2025-12-31"):
        period = {"period_end": "9999-12-31"} if field == "period_start" else {}
        books.record(**({"customer_id": customer, "amount": 1} | period | {field: day}))
        assert books.value(
            f"select {field}::text from public.payments order by created_at desc limit 1"
        ) == (day)


def test_a_period_does_not_end_before_it_starts(books: Settling, customer: UUID) -> None:
    with refused("period_reversed", status=400):
        books.record(
            customer_id=customer, amount=1, period_start="2025-09-02", period_end="2025-09-01"
        )


class TestKeys:
    """An idempotency key makes a call that is sent twice happen once, and undoes it."""

    def test_the_first_answer_comes_again(self, books: Settling, customer: UUID) -> None:
        invoice, sale = books.invoice(customer, 300), books.sale(customer, 50)
        books.with_key()
        first = books.record(
            customer_id=customer,
            amount=500,
            allocations=[line(invoice, 100)],
            sales=[{"saleId": str(sale)}],
        )
        again = books.record(
            notes=None,
            amount="500.00",
            customer_id=str(customer).upper(),
            sales=[{"sale_id": str(sale)}],
            allocations=[{"invoice_id": str(invoice), "amount": "100.0"}],
            opening_balance=None,
        )
        assert again == first
        assert payments(books) == 1
        for other in ({"notes": "other"}, {"payment_date": "2025-09-01"}, {"amount": 501}):
            with refused("idempotency_key_reused", status=409):
                books.record(**({"customer_id": customer, "amount": 500} | other))
        assert payments(books) == 1

    def test_undoing_takes_its_allocations_off_and_keeps_the_payment(
        self, books: Settling, customer: UUID
    ) -> None:
        invoice, sale = books.invoice(customer, 300), books.sale(customer, 50)
        later = books.invoice(customer, 300)
        key = books.with_key()
        payment = books.record(
            customer_id=customer,
            amount=1000,
            opening_balance=200,
            allocations=[line(invoice, 300)],
            sales=[{"saleId": str(sale)}],
        )["payment_id"]
        books.with_key()
        books.allocate(payment, {later: 40})

        books.with_key(key)
        assert roll_back(books, payment) == (True, 1, 550, False)

        assert books.payment_totals(payment) == (40, 960, "partially_applied")
        assert books.opening_paid(customer) == 0
        assert books.invoice_totals(invoice).paid == 0
        assert books.sale_state(sale) == (0, "Pending")
        assert books.unapplied(payment) == [960]
        assert books.broken() == []
        with refused("request_undone", status=409):
            books.record(customer_id=customer, amount=1000)
        assert payments(books) == 1

    def test_a_key_names_its_payment(self, books: Settling, customer: UUID) -> None:
        books.with_key()
        books.record(customer_id=customer, amount=1000, opening_balance=200)
        with refused("key_of_another_payment", status=409):
            roll_back(books, books.payment(customer, 5))


def test_an_invoice_settles_its_sales_and_the_call_its_own(books: Settling, customer: UUID) -> None:
    billed, own = books.sale(customer, 100), books.sale(customer, 50)
    invoice = books.invoice(customer, 100)
    books.bill(invoice, billed)
    with refused("sale_billed", status=409):
        books.record(
            customer_id=customer,
            amount=200,
            allocations=[line(invoice, 100)],
            sales=[{"saleId": str(billed)}],
        )
    books.record(
        customer_id=customer,
        amount=150,
        allocations=[line(invoice, 100)],
        sales=[{"saleId": str(own)}],
    )
    assert books.sale_state(billed) == (0, "Completed")
    assert books.sale_state(own) == (50, "Completed")
    assert books.broken() == []


def test_it_is_told_from_the_app_s_own_rows(books: Settling, customer: UUID) -> None:
    """The mark of a call is gone when the call is over."""
    with books.connection.transaction():
        payment = books.record(customer_id=customer, amount=100, opening_balance=50)["payment_id"]
        books.run("update public.opening_balance_payments set amount = 60")
        with pytest.raises(psycopg.Error), books.connection.transaction():
            books.record(customer_id=customer, amount=1, opening_balance=2)
        books.run("update public.opening_balance_payments set amount = 70")
    assert books.rows(
        "select call_id is null, amount_change from private.settlement_journal order by id"
    ) == [(False, 50), (True, 10), (True, 10)]
    with ruled_out("payments_applied_within_amount"):
        books.run(
            "update public.opening_balance_payments set amount = 101 where payment_id = %s", payment
        )
    assert books.opening_paid(customer) == Decimal(70)


@pytest.mark.parametrize(("digits", "taken"), [(40, True), (41, False)])
def test_an_amount_in_words_of_digits_has_an_end(
    books: Settling, customer: UUID, digits: int, *, taken: bool
) -> None:
    amount = "10".rjust(digits, "0")
    if taken:
        assert books.record(customer_id=customer, amount=amount)["payment_amount"] == 10
    else:
        with refused("amount_invalid", status=400):
            books.record(customer_id=customer, amount=amount)


def test_what_is_not_paid_is_said_to_be_0_or_nothing(books: Settling, customer: UUID) -> None:
    invoice, sale = books.invoice(customer, 300), books.sale(customer, 50)
    common = {"customer_id": customer, "amount": 100}
    of_invoice = books.record(**common, allocations=[line(invoice, 60)])["applied"]
    of_sale = books.record(**common, sales=[{"saleId": str(sale)}])["applied"]
    assert (of_invoice["opening_balance"], of_invoice["sales"]) == (0, [])
    assert (of_sale["opening_balance"], of_sale["invoices"]) == (0, [])
