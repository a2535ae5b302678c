"""Where there is nothing, answers say 0 or an empty list, and never a null that reads like it."""

from uuid import UUID

import pytest

from dairy.billing import Billing
from dairy.books import refused
from dairy.undoing import roll_back, unallocate, update
from support.databases import Database

NOTHING = {"not_due", "days_1_to_30", "days_31_to_60", "days_61_to_90", "days_over_90"}


@pytest.fixture
def books(dairy_hardened: Database) -> Billing:
    return Billing(dairy_hardened.connect(autocommit=True))


@pytest.fixture
def customer(books: Billing) -> UUID:
    """Who has nothing, and of whom not even an opening balance is known."""
    found = books.customer()
    books.run("update public.customers set opening_balance = null where id = %s", found)
    return found


def test_a_customer_of_whom_nothing_is_known_owes_0(books: Billing, customer: UUID) -> None:
    assert books.value("select public.calculate_customer_outstanding(%s)", customer) == 0
    parts = books.ask("public.outstanding_breakdown(%s)", customer)
    assert parts.pop("customer_id") == customer
    assert parts.pop("as_of") == books.value("select public.business_today()")
    assert parts.pop("balance") == "0.00"
    assert parts.pop("ageing") == dict.fromkeys(NOTHING, 0)
    assert parts == dict.fromkeys(parts, 0)


def test_both_ways_of_counting_nothing_agree(books: Billing, customer: UUID) -> None:
    found = books.ask("public.validate_outstanding(%s)", customer)
    assert found.pop("customer_id") == customer
    assert found.pop("valid") is True
    assert found.pop("differences") == []
    assert found == dict.fromkeys(found, 0)


def test_an_invoice_and_a_payment_that_nothing_joins(books: Billing, customer: UUID) -> None:
    books.invoice(customer, 100)
    books.payment(customer, 30)
    parts = books.ask("public.outstanding_breakdown(%s)", customer)
    assert (parts["outstanding"], parts["credit"], parts["net"]) == (100, 30, 70)
    found = books.ask("public.validate_outstanding(%s)", customer)
    assert (found["valid"], found["summed_outstanding"], found["summed_credit"]) == (True, 100, 30)


def test_taking_off_where_nothing_is(books: Billing, customer: UUID) -> None:
    payment = books.payment(customer, 100)
    assert unallocate(books, payment)[:3] == (True, 0, 0)
    assert roll_back(books, payment) == (True, 0, 0, False)
    books.with_key("never heard of")
    assert roll_back(books, payment) == (True, 0, 0, False)


def test_replacing_allocations_by_none(books: Billing, customer: UUID) -> None:
    payment, invoice = books.payment(customer, 100), books.invoice(customer, 100)
    books.allocate(payment, {invoice: 40})
    answer = update(books, payment, None, {})
    assert (answer.allocated_amount, answer.total_allocated, answer.applied) == (0, 0, [])


def test_an_automatic_allocation_without_anything_to_pay(books: Billing, customer: UUID) -> None:
    answer = books.auto(books.payment(customer, 100))
    assert answer["allocated_amount"] == 0
    assert answer["applied"] == {"opening_balance": 0, "invoices": [], "sales": []}


def test_an_automatic_allocation_of_a_payment_whose_customer_owes_invoices_alone(
    books: Billing, customer: UUID
) -> None:
    books.invoice(customer, 60)
    answer = books.auto(books.payment(customer, 100))
    assert (answer["allocated_amount"], answer["unapplied_amount"]) == (60, 40)
    assert answer["applied"]["opening_balance"] == 0


def test_repairing_a_mirror_that_is_whole(books: Billing) -> None:
    answer = books.ask("public.fix_unapplied_payments_inconsistencies(null)")
    told = {name: value for name, value in answer.items() if name not in {"success", "dry_run"}}
    assert (answer["success"], answer["dry_run"]) == (True, True)
    assert told == dict.fromkeys(told, 0)


def test_a_bulk_run_that_has_nobody_to_bill(books: Billing, customer: UUID) -> None:
    answer = books.ask(
        "public.generate_bulk_invoices_atomic('2031-01-01', '2031-01-31', %s::uuid[])", [customer]
    )
    assert (answer["invoices_created"], answer["total_amount"]) == (0, 0)
    assert answer["invoice_numbers"] == []


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("allocate_payment_atomic(gen_random_uuid(), null)", "allocations_not_a_list"),
        ("allocate_payment_to_sales_atomic(gen_random_uuid(), null)", "allocations_not_a_list"),
        ("record_payment_atomic(null)", "payment_not_an_object"),
        ("log_bulk_operation('a run', null)", "parameters_invalid"),
    ],
)
def test_a_refusal_says_that_null_was_given(books: Billing, call: str, reason: str) -> None:
    with refused(reason, status=400) as facts:
        books.ask(f"public.{call}")
    assert facts["given"] == "null"
