"""Whatever JSON comes, it is allocated exactly or refused with a reason: never a raw cast error."""

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import product
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dairy.books import Books, refused
from support.databases import Database

INVOICE = UUID("00000000-0000-4000-8000-00000000000a")

AMOUNTS = [
    "0",
    "-1",
    "-0.01",
    "0.001",
    "10.005",
    "1e-3",
    "1e400",
    "1e-400",
    "10000000000",
    "9" * 1000,
    "0." + "0" * 1000 + "1",
    "true",
    "[]",
    "{}",
    '""',
    '" 5"',
    '"5 "',
    '"5\\n"',
    '"+5"',
    '"-5"',
    '".5"',
    '"5."',
    '"1e2"',
    '"0x10"',
    '"1_000"',
    '"1,000"',
    '"NaN"',
    '"Infinity"',
    '"-Infinity"',
    '"five"',
    '"\u0665"',  # an Arabic-Indic five
    '"\uff15"',  # a full-width five
    '"₹5"',
    '"0"',
    '"0.00"',
    '"10000000000"',
    '"5.001"',
    json.dumps("9" * 200_000),
    json.dumps("5." + "0" * 200_000),
]

MALFORMED = [
    "null",
    "5",
    '"text"',
    "[]",
    "{}",
    '{"amount": 5}',
    f'{{"invoiceId": "{INVOICE}"}}',
    f'{{"invoiceId": "{INVOICE}", "amount": null}}',
    f'{{"INVOICEID": "{INVOICE}", "amount": 5}}',
    '{"invoiceId": null, "amount": 5}',
    '{"invoiceId": 5, "amount": 5}',
    '{"invoiceId": "", "amount": 5}',
    '{"invoiceId": "not-a-uuid", "amount": 5}',
    f'{{"invoiceId": "{{{INVOICE}}}", "amount": 5}}',
    f'{{"invoiceId": "{INVOICE.hex}", "amount": 5}}',
    f'{{"invoiceId": "{INVOICE} ", "amount": 5}}',
    '{"invoiceId": "0000000g-0000-0000-0000-000000000000", "amount": 5}',
    '{"invoiceId": "0000-0000-0000-0000-0000-0000-0000-00", "amount": 5}',
    '{"invoiceId": "0000000--0000-0000-0000-000000000000", "amount": 5}',
    '{"invoiceId": "0000-0000-0000-0000-0000000000000000", "amount": 5}',
    f'{{"invoiceId": ["{INVOICE}"], "amount": 5}}',
    f'{{"invoiceId": {{"id": "{INVOICE}"}}, "amount": 5}}',
    f'{{"invoiceId": "{INVOICE}", "invoice_id": "{UUID(int=1)}", "amount": 5}}',
    f'{{"invoiceId": "{INVOICE}", "invoice_id": "", "amount": 5}}',
    f'[{{"invoiceId": "{INVOICE}", "amount": 5}}]',
    '{"invoiceId": "' + "a" * 100_000 + '", "amount": 5}',
    '{"invoiceId": "😀", "amount": "😀"}',
    "[" * 500 + "]" * 500,
]

MODES = [True, False]
NO_LISTS = ["null", "{}", '"[]"', "5", "true", f'{{"invoiceId": "{INVOICE}", "amount": 5}}']


class TestRefused:
    """Both modes refuse what is malformed."""

    @pytest.fixture
    def payment(self, books: Books) -> UUID:
        customer = books.customer()
        books.run(
            "insert into public.invoice_metadata (id, customer_id, invoice_date, period_start,"
            " period_end, total_amount, invoice_status)"
            " values (%s, %s, '2025-09-01', '2025-08-01', '2025-08-31', 1000, 'sent')",
            INVOICE,
            customer,
        )
        return books.payment(customer, 1000)

    def test_amounts(self, books: Books, payment: UUID) -> None:
        for amount, validate in product(AMOUNTS, MODES):
            text = f'[{{"invoiceId": "{INVOICE}", "amount": {amount}}}]'
            with refused("amount_invalid", status=400) as facts:
                books.call(payment, text, validate=validate)
            assert facts["line"] == 1
            assert facts["invoice_id"] == str(INVOICE)
        assert books.allocations(payment) == {}

    def test_lines(self, books: Books, payment: UUID) -> None:
        good = f'{{"invoiceId": "{INVOICE}", "amount": 5}}'
        for bad, validate in product(MALFORMED, MODES):
            with refused("allocation_malformed", status=400) as facts:
                books.call(payment, f"[{good}, {bad}]", validate=validate)
            assert facts["line"] == 2
            assert len(facts["given"]) <= 200
        assert books.allocations(payment) == {}

    def test_lists(self, books: Books, payment: UUID) -> None:
        for text, validate in product([None, *NO_LISTS], MODES):
            with refused("allocations_not_a_list", status=400):
                books.call(payment, text, validate=validate)
        for validate in MODES:
            with refused("allocations_empty", status=400):
                books.call(payment, "[]", validate=validate)

    def test_the_same_invoice_twice(self, books: Books, payment: UUID) -> None:
        lines = [
            {"invoiceId": str(INVOICE), "amount": 1},
            {"invoice_id": str(INVOICE).upper(), "amount": 2},
        ]
        for validate in MODES:
            with refused("invoice_named_twice", status=422) as facts:
                books.call(payment, json.dumps(lines), validate=validate)
            assert facts == {"invoice_id": str(INVOICE)}


PAYMENT = UUID("00000000-0000-4000-8000-00000000000b")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
lines = st.fixed_dictionaries(
    {},
    optional={
        "invoiceId": st.just(str(INVOICE)) | json_values,
        "invoice_id": st.just(str(INVOICE)) | json_values,
        "amount": st.decimals(allow_nan=True, allow_infinity=True).map(str)
        | st.decimals(min_value=0, max_value=2000, places=2).map(str)
        | json_values,
    },
)


@pytest.fixture
def open_invoice(dairy_001: Database) -> Iterator[Books]:
    """A payment of 1000 and an invoice of 1000; what a test allocates, it rolls back."""
    books = Books(dairy_001.connect())
    customer = books.customer()
    books.run(
        "insert into public.invoice_metadata (id, customer_id, invoice_date, period_start,"
        " period_end, total_amount, invoice_status)"
        " values (%s, %s, '2025-09-01', '2025-08-01', '2025-08-31', 1000, 'sent')",
        INVOICE,
        customer,
    )
    books.run(
        "insert into public.payments (id, customer_id, amount, payment_date)"
        " values (%s, %s, 1000, '2025-09-10')",
        PAYMENT,
        customer,
    )
    books.connection.commit()
    yield books
    books.connection.rollback()


def is_jsonb(books: Books, text: str) -> bool:
    """Whether Postgres takes it as jsonb at all (no lone surrogates, no U+0000): the API's task."""
    try:
        books.value("select %s::jsonb", text)
    except psycopg.DataError:
        return False
    finally:
        books.connection.rollback()
    return True


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(allocations=st.lists(lines, max_size=3) | json_values, validate=st.booleans())
def test_any_json_is_allocated_exactly_or_refused_by_name(
    open_invoice: Books, allocations: object, *, validate: bool
) -> None:
    text = json.dumps(allocations)
    assume(is_jsonb(open_invoice, text))
    try:
        answer = open_invoice.call(PAYMENT, text, validate=validate)
    except psycopg.DatabaseError as error:
        if not (error.diag.sqlstate or "").startswith("PT"):
            raise
    else:
        given = Decimal(str(answer.applied[0]["requested"]))
        assert 0 < answer.allocated_amount <= given
        assert answer.allocated_amount == sum(open_invoice.allocations(PAYMENT).values())
    finally:
        open_invoice.connection.rollback()
