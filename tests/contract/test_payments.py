"""Payments and what they pay: gaps 001 to 005 and 009, as the contract says it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest

from contract.app import Dairy, Ids, columns_of, refused, ruled_out

TODAY = date(2025, 9, 20)


def test_900_of_800_is_refused_and_nothing_is_written(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    payment, invoice = dairy_app.payment(customer, 800), dairy_app.invoice(customer, 1000)
    with refused(status=409):
        dairy_app.allocate(payment, (invoice, 900))
    assert dairy_app.payment_row(payment)["amount_applied"] == 0
    assert dairy_app.unapplied(payment) == [800]
    dairy_app.assert_sound()


def test_300_of_800_leaves_500(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    payment, invoice = dairy_app.payment(customer, 800), dairy_app.invoice(customer, 1000)
    answer = dairy_app.allocate(payment, (invoice, 300))
    assert columns_of(
        answer,
        "success",
        "allocated_amount",
        "total_allocated",
        "payment_amount",
        "unapplied_amount",
        "allocation_status",
    ) == (True, 300, 300, 800, 500, "partially_applied")
    assert dairy_app.unapplied(payment) == [500]
    invoice_row = dairy_app.invoice_row(invoice)
    assert columns_of(invoice_row, "amount_paid", "amount_outstanding", "invoice_status") == (
        300,
        700,
        "partially_paid",
    )
    answer = dairy_app.allocate(payment, (invoice, "200.50"))
    assert answer["total_allocated"] == Decimal("500.50")
    dairy_app.assert_sound()


def test_without_validation_each_line_is_cut_in_order_and_no_limit_is_passed(
    dairy_app: Dairy,
) -> None:
    customer = dairy_app.customer()
    payment = dairy_app.payment(customer, 800)
    first, second = dairy_app.invoice(customer, 300), dairy_app.invoice(customer, 1000)
    answer = dairy_app.allocate(payment, (first, 500), (second, 900), p_validate_amounts=False)
    assert [
        (line["invoice_id"], Decimal(str(line["requested"])), Decimal(str(line["applied"])))
        for line in answer["applied"]
    ] == [
        (str(first), Decimal(500), Decimal(300)),
        (str(second), Decimal(900), Decimal(500)),
    ]
    assert columns_of(answer, "allocated_amount", "unapplied_amount") == (800, 0)
    assert dairy_app.unapplied(payment) == []
    dairy_app.assert_sound()


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize(
    "amount", [0, -1, "0.001", "NaN", "Infinity", "-Infinity", 10**10, "1e30", "abc", None, {}]
)
def test_malformed_amounts_are_refused_in_both_modes(
    dairy_app: Dairy, amount: object, *, validate: bool
) -> None:
    customer = dairy_app.customer()
    payment, invoice = dairy_app.payment(customer, 800), dairy_app.invoice(customer, 1000)
    with refused(status=400):
        dairy_app.app.rpc(
            "allocate_payment_atomic",
            p_payment_id=payment,
            p_allocations=[{"invoiceId": str(invoice), "amount": amount}],
            p_validate_amounts=validate,
        )
    assert dairy_app.payment_row(payment)["amount_applied"] == 0


@pytest.mark.parametrize("allocations", [[], {}, ["x"], [{}], [{"invoiceId": "x", "amount": 1}]])
def test_malformed_lists_are_refused(dairy_app: Dairy, allocations: object) -> None:
    payment = dairy_app.payment(dairy_app.customer(), 800)
    with refused(status=400):
        dairy_app.app.rpc(
            "allocate_payment_atomic", p_payment_id=payment, p_allocations=allocations
        )


def test_another_customers_a_cancelled_and_a_deleted_invoice_take_nothing(
    dairy_app: Dairy,
) -> None:
    customer = dairy_app.customer()
    payment = dairy_app.payment(customer, 800)
    strange = dairy_app.invoice(dairy_app.customer(), 100)
    cancelled = dairy_app.invoice(customer, 100, invoice_status="cancelled")
    deleted = dairy_app.invoice(customer, 100)
    dairy_app.app.rpc("delete_invoice_safe", p_invoice_id=deleted)
    for invoice in (strange, cancelled, deleted):
        with refused():
            dairy_app.allocate(payment, (invoice, 1))
        with ruled_out():
            dairy_app.app.insert(
                "invoice_payments", invoice_id=invoice, payment_id=payment, amount_allocated=1
            )
    dairy_app.assert_sound()


def test_eight_payments_at_once_never_pay_an_invoice_twice(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    invoice = dairy_app.invoice(customer, 1000)
    payments = [dairy_app.payment(customer, 300) for _ in range(8)]
    sessions = [dairy_app.session() for _ in payments]

    def pay(number: int) -> str:
        try:
            sessions[number].rpc(
                "allocate_payment_atomic",
                p_payment_id=payments[number],
                p_allocations=[{"invoiceId": str(invoice), "amount": 300}],
            )
        except psycopg.Error as error:
            return error.sqlstate or ""
        return "done"

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(pay, range(8)))
    assert outcomes == ["PT409"] * 5 + ["done"] * 3
    assert dairy_app.invoice_row(invoice)["amount_paid"] == 900
    dairy_app.assert_sound()


def test_a_compensation_takes_legacy_rows_off(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    payment = dairy_app.payment(customer, 800)
    for amount in (300, 200):
        dairy_app.app.insert(
            "invoice_payments",
            invoice_id=dairy_app.invoice(customer, 1000),
            payment_id=payment,
            amount_allocated=amount,
        )
    answer = dairy_app.app.rpc("rollback_partial_allocation", p_payment_id=payment)
    assert columns_of(
        answer, "success", "affected_invoices", "removed_amount", "payment_reset_to_unapplied"
    ) == (True, 2, 500, True)
    assert dairy_app.unapplied(payment) == [800]
    dairy_app.assert_sound()


def test_a_compensation_leaves_what_an_rpc_committed(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    payment, invoice = dairy_app.payment(customer, 800), dairy_app.invoice(customer, 1000)
    dairy_app.allocate(payment, (invoice, 300))
    answer = dairy_app.app.rpc("rollback_partial_allocation", p_payment_id=payment)
    assert columns_of(answer, "affected_invoices", "removed_amount") == (0, 0)
    assert dairy_app.payment_row(payment)["amount_applied"] == 300


def test_a_compensation_with_the_calls_key_undoes_exactly_that_call(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    payment = dairy_app.payment(customer, 800)
    first, second = dairy_app.invoice(customer, 1000), dairy_app.invoice(customer, 1000)
    dairy_app.allocate(payment, (first, 100))
    with dairy_app.app.key("timed out"):
        dairy_app.allocate(payment, (first, 200), (second, 300))
        answer = dairy_app.app.rpc("rollback_partial_allocation", p_payment_id=payment)
        assert columns_of(
            answer, "affected_invoices", "removed_amount", "payment_reset_to_unapplied"
        ) == (2, 500, False)
        assert dairy_app.app.rpc("request_outcome", p_key="timed out")["outcome"] == "undone"
        with refused(status=409):
            dairy_app.allocate(payment, (first, 200), (second, 300))
    assert dairy_app.payment_row(payment)["amount_applied"] == 100
    dairy_app.assert_sound()


def test_a_key_that_never_came_is_tombstoned(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    payment, invoice = dairy_app.payment(customer, 800), dairy_app.invoice(customer, 1000)
    with dairy_app.app.key("late"):
        answer = dairy_app.app.rpc("rollback_partial_allocation", p_payment_id=payment)
        assert answer["removed_amount"] == 0
        with refused(status=409):
            dairy_app.allocate(payment, (invoice, 200))
    assert dairy_app.payment_row(payment)["amount_applied"] == 0


def test_a_compensation_refuses_the_key_of_another_payment(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    payment, other = dairy_app.payment(customer, 800), dairy_app.payment(customer, 800)
    with dairy_app.app.key("another's"):
        dairy_app.allocate(payment, (dairy_app.invoice(customer, 1000), 200))
        with refused(status=409):
            dairy_app.app.rpc("rollback_partial_allocation", p_payment_id=other)
    assert dairy_app.payment_row(payment)["amount_applied"] == 200


def test_the_same_key_gives_the_first_answer_and_other_arguments_a_refusal(
    dairy_app: Dairy,
) -> None:
    customer = dairy_app.customer()
    payment, invoice = dairy_app.payment(customer, 800), dairy_app.invoice(customer, 1000)
    with dairy_app.app.key("once"):
        first = dairy_app.allocate(payment, (invoice, 300))
        assert dairy_app.allocate(payment, (invoice, "300.00")) == first
        with refused(status=409):
            dairy_app.allocate(payment, (invoice, 301))
        outcome = dairy_app.app.rpc("request_outcome", p_key="once")
    assert outcome["outcome"] == "done"
    assert dairy_app.app.rpc("request_outcome", p_key="never")["outcome"] == "unknown"
    assert dairy_app.payment_row(payment)["amount_applied"] == 300


def test_taking_allocations_off(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    payment = dairy_app.payment(customer, 800)
    first, second = dairy_app.invoice(customer, 400), dairy_app.invoice(customer, 1000)
    dairy_app.allocate(payment, (first, 400), (second, 300))
    with refused(status=400):
        dairy_app.app.rpc(
            "unallocate_payment", p_payment_id=payment, p_invoice_ids=Ids(), p_reason="none"
        )
    with refused(status=404):
        dairy_app.app.rpc(
            "unallocate_payment",
            p_payment_id=payment,
            p_invoice_ids=Ids([dairy_app.invoice(customer, 5)]),
            p_reason="not touched",
        )
    dairy_app.app.rpc(
        "unallocate_payment", p_payment_id=payment, p_invoice_ids=Ids([first]), p_reason="wrong"
    )
    assert dairy_app.payment_row(payment)["amount_applied"] == 300
    assert dairy_app.invoice_row(first)["invoice_status"] == "sent"
    dairy_app.app.rpc(
        "unallocate_payment", p_payment_id=payment, p_invoice_ids=None, p_reason="all"
    )
    assert dairy_app.unapplied(payment) == [800]
    dairy_app.assert_sound()


def test_a_voided_payment_is_out_of_every_sum(dairy_app: Dairy) -> None:
    customer = dairy_app.customer(opening_balance=1000)
    payment, invoice = dairy_app.payment(customer, 800), dairy_app.invoice(customer, 500)
    dairy_app.allocate(payment, (invoice, 300))
    for reason in (None, "", "  "):
        with refused(status=400):
            dairy_app.app.rpc("void_payment", p_payment_id=payment, p_reason=reason)
    dairy_app.app.rpc("void_payment", p_payment_id=payment, p_reason="bounced")
    row = dairy_app.payment_row(payment)
    assert row["voided_at"] is not None
    assert columns_of(row, "amount_applied", "amount") == (0, 800)
    assert dairy_app.unapplied(payment) == []
    with refused():
        dairy_app.allocate(payment, (invoice, 1))
    with ruled_out():
        dairy_app.app.insert(
            "invoice_payments", invoice_id=invoice, payment_id=payment, amount_allocated=1
        )
    found = dairy_app.app.rpc("outstanding_breakdown", p_customer_id=customer, p_as_of=None)
    assert found["credit"] == 0
    assert dairy_app.app.value("select public.calculate_customer_outstanding(%s)", customer) == 1500
    dairy_app.assert_sound()


def test_an_amount_is_never_below_what_is_allocated(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    payment, invoice = dairy_app.payment(customer, 800), dairy_app.invoice(customer, 1000)
    dairy_app.allocate(payment, (invoice, 500))
    with ruled_out():
        dairy_app.app.run("update public.payments set amount = 499.99 where id = %s", payment)
    change = {"p_payment_id": payment, "p_reason": "typing mistake"}
    with refused(status=409):
        dairy_app.app.rpc("update_payment_atomic", p_amount=499, p_allocations=None, **change)
    for amount in ("NaN", "Infinity", 0, -1, "0.001", 10**10):
        with refused(status=400):
            dairy_app.app.rpc(
                "update_payment_atomic",
                p_amount=Decimal(amount),
                p_allocations=None,
                **change,
            )
    dairy_app.app.rpc("update_payment_atomic", p_amount=500, p_allocations=None, **change)
    assert dairy_app.payment_row(payment)["allocation_status"] == "fully_applied"
    assert dairy_app.unapplied(payment) == []
    other = dairy_app.invoice(customer, 1000)
    dairy_app.app.rpc(
        "update_payment_atomic",
        p_amount=900,
        p_allocations=[{"invoiceId": str(other), "amount": 850}],
        **change,
    )
    assert dairy_app.invoice_row(invoice)["amount_paid"] == 0
    assert dairy_app.invoice_row(other)["amount_paid"] == 850
    dairy_app.app.rpc("update_payment_atomic", p_amount=None, p_allocations=[], **change)
    assert dairy_app.unapplied(payment) == [900]
    dairy_app.assert_sound()


def test_the_mirror_follows_whatever_is_written(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    payment = dairy_app.payment(customer, 800)
    assert dairy_app.unapplied(payment) == [800]
    made = dairy_app.app.insert(
        "unapplied_payments", customer_id=customer, payment_id=payment, amount_unapplied=5
    )
    assert made["amount_unapplied"] == 800
    assert dairy_app.unapplied(payment) == [800]
    dairy_app.app.run("update public.payments set amount = 900 where id = %s", payment)
    assert dairy_app.unapplied(payment) == [900]
    nobody = dairy_app.payment(None, 100)
    assert dairy_app.unapplied(nobody) == []
    dairy_app.app.run("update public.payments set customer_id = %s where id = %s", customer, nobody)
    assert dairy_app.unapplied(nobody) == [100]
    assert dairy_app.app.rpc_rows("reconcile_unapplied_payments") == []
    dairy_app.assert_sound()


def test_drift_of_the_mirror_is_found_and_mended(dairy_app: Dairy) -> None:
    payment = dairy_app.payment(dairy_app.customer(), 800)
    superuser = dairy_app.database.connect(user="supabase_admin", autocommit=True)
    superuser.execute("set session_replication_role = replica")
    superuser.execute("update public.unapplied_payments set amount_unapplied = 5")
    assert dairy_app.office.rpc_rows("reconcile_unapplied_payments") != []
    dairy_app.office.rpc("fix_unapplied_payments_inconsistencies")
    assert dairy_app.unapplied(payment) == [5]  # a dry run by default
    dairy_app.office.rpc("fix_unapplied_payments_inconsistencies", p_dry_run=False)
    assert dairy_app.unapplied(payment) == [800]
    assert dairy_app.office.rpc_rows("reconcile_unapplied_payments") == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        dairy_app.app.rpc("fix_unapplied_payments_inconsistencies")


def test_the_app_deletes_a_payment_in_its_series(dairy_app: Dairy) -> None:
    customer = dairy_app.customer(opening_balance=100)
    payment, invoice = dairy_app.payment(customer, 800), dairy_app.invoice(customer, 500)
    dairy_app.allocate(payment, (invoice, 300))
    dairy_app.app.insert(
        "opening_balance_payments", customer_id=customer, payment_id=payment, amount=50
    )
    for table in (
        "invoice_payments",
        "opening_balance_payments",
        "sales_payments",
        "unapplied_payments",
    ):
        dairy_app.app.run(f"delete from public.{table} where payment_id = %s", payment)
    assert dairy_app.app.run("delete from public.payments where id = %s", payment) == 1
    assert dairy_app.invoice_row(invoice)["amount_paid"] == 0
    dairy_app.assert_sound()


def test_an_opening_balance_is_paid_once(dairy_app: Dairy) -> None:
    customer = dairy_app.customer(opening_balance=100)
    payments = [dairy_app.payment(customer, 80) for _ in range(2)]
    sessions = [dairy_app.session(), dairy_app.session()]

    def pay(number: int) -> str:
        try:
            sessions[number].rpc(
                "allocate_opening_balance_atomic",
                p_payment_id=payments[number],
                p_customer_id=customer,
                p_amount=80,
            )
        except psycopg.Error as error:
            return error.sqlstate or ""
        return "done"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(pay, range(2))) == ["PT409", "done"]
    dairy_app.assert_sound()


def test_what_the_opening_balance_refuses(dairy_app: Dairy) -> None:
    customer, stranger = dairy_app.customer(100), dairy_app.customer(100)
    payment = dairy_app.payment(customer, 500)

    def pay(customer: UUID, amount: object) -> None:
        dairy_app.app.rpc(
            "allocate_opening_balance_atomic",
            p_payment_id=payment,
            p_customer_id=customer,
            p_amount=amount,
        )

    with refused(status=400):
        pay(customer, None)
    with refused(status=422):
        pay(stranger, 10)
    with refused(status=409):
        pay(customer, 101)
    for amount in (0, -1, Decimal("NaN"), Decimal("Infinity"), Decimal("0.005")):
        with refused(status=400):
            pay(customer, amount)
    pay(customer, 60)
    pay(customer, 40)
    with refused(status=409):
        pay(customer, 1)
    with ruled_out():
        dairy_app.app.run(
            "update public.customers set opening_balance = 99 where id = %s", customer
        )
    assert dairy_app.payment_row(payment)["amount_applied"] == 100
    dairy_app.assert_sound()


def test_a_direct_row_cannot_overpay_an_opening_balance(dairy_app: Dairy) -> None:
    customer = dairy_app.customer(opening_balance=100)
    payment = dairy_app.payment(customer, 500)
    with ruled_out():
        dairy_app.app.insert(
            "opening_balance_payments", customer_id=customer, payment_id=payment, amount=101
        )
    with ruled_out():
        dairy_app.app.insert(
            "opening_balance_payments",
            customer_id=dairy_app.customer(50),
            payment_id=payment,
            amount=10,
        )
    dairy_app.assert_sound()


def test_a_sale_is_paid_whole_and_becomes_completed(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    payment, sale = dairy_app.payment(customer, 500), dairy_app.sale(customer, 120, TODAY)
    with ruled_out():
        dairy_app.app.insert(
            "sales_payments", sales_id=sale, payment_id=payment, amount_allocated=100
        )
    with refused():
        dairy_app.app.rpc(
            "allocate_payment_to_sales_atomic",
            p_payment_id=payment,
            p_allocations=[{"saleId": str(sale), "amount": 100}],
        )
    answer = dairy_app.app.rpc(
        "allocate_payment_to_sales_atomic",
        p_payment_id=payment,
        p_allocations=[{"saleId": str(sale), "amount": 120}],
    )
    assert columns_of(answer, "success", "allocated_amount", "unapplied_amount") == (
        True,
        120,
        380,
    )
    status = "select payment_status from public.sales where id = %s"
    assert dairy_app.app.value(status, sale) == "Completed"
    with refused(status=409):
        dairy_app.app.rpc(
            "allocate_payment_to_sales_atomic",
            p_payment_id=dairy_app.payment(customer, 500),
            p_allocations=[{"saleId": str(sale), "amount": 120}],
        )
    dairy_app.assert_sound()


def test_one_call_records_a_payment_and_all_that_it_pays(dairy_app: Dairy) -> None:
    customer = dairy_app.customer(opening_balance=100)
    invoice, sale = dairy_app.invoice(customer, 300), dairy_app.sale(customer, 50, TODAY)
    payment = {
        "customer_id": str(customer),
        "amount": 500,
        "payment_date": "2025-09-20",
        "payment_method": "gpay",
        "notes": "at the door",
        "allocations": [{"invoiceId": str(invoice), "amount": 300}],
        "opening_balance": 100,
        "sales": [{"saleId": str(sale)}],
    }
    with dairy_app.app.key("door/1"):
        answer = dairy_app.app.rpc("record_payment_atomic", p_payment=payment)
        assert dairy_app.app.rpc("record_payment_atomic", p_payment=payment) == answer
    assert columns_of(answer, "success", "total_allocated", "unapplied_amount") == (True, 450, 50)
    recorded = dairy_app.app.rows("select * from public.payments where customer_id = %s", customer)
    assert [row["payment_method"] for row in recorded] == ["UPI"]
    assert dairy_app.unapplied(recorded[0]["id"]) == [50]
    with refused(status=400):
        dairy_app.app.rpc("record_payment_atomic", p_payment={**payment, "ammount": 1})
    with refused():
        dairy_app.app.rpc("record_payment_atomic", p_payment={**payment, "amount": 100})
    assert dairy_app.app.value("select count(*) from public.payments") == 1
    dairy_app.assert_sound()


def test_money_finds_its_place_by_itself(dairy_app: Dairy) -> None:
    customer = dairy_app.customer(opening_balance=100)
    newer = dairy_app.invoice(customer, 200, due_date=date(2025, 10, 2))
    older = dairy_app.invoice(customer, 200, due_date=date(2025, 9, 2))
    draft = dairy_app.invoice(customer, 200, invoice_status="draft", due_date=date(2025, 1, 1))
    payment = dairy_app.payment(customer, 350)
    dairy_app.app.rpc("auto_allocate_payment", p_payment_id=payment)
    paid = {i: dairy_app.invoice_row(i)["amount_paid"] for i in (older, newer, draft)}
    assert paid == {older: 200, newer: 50, draft: 0}
    with refused(status=400):
        dairy_app.app.rpc(
            "auto_allocate_payment",
            p_payment_id=dairy_app.payment(customer, 5),
            p_strategy="newest",
        )
    dairy_app.assert_sound()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (" GPay ", "UPI"),
        ("cash", "Cash"),
        ("check", "Cheque"),
        ("dd", "Cheque"),
        ("neft", "Bank Transfer"),
        ("RTGS", "Bank Transfer"),
        ("paytm", "UPI"),
        ("qr", "UPI"),
        ("debit card", "Card"),
        ("net banking", "Online"),
        ("", None),
    ],
)
def test_methods_have_one_spelling(dairy_app: Dairy, given: str, kept: str | None) -> None:
    assert (
        dairy_app.app.value("select public.normalize_payment_method(p_method => %s)", given) == kept
    )
    payment = dairy_app.payment(dairy_app.customer(), 1500, payment_method=given)
    assert dairy_app.payment_row(payment)["payment_method"] == kept


def test_methods_have_limits(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    with refused(status=422):
        dairy_app.app.value("select public.normalize_payment_method(p_method => 'barter')")
    for method, amount in (
        ("barter", 10),
        ("Cash", "50000.01"),
        ("UPI", "0.99"),
        ("Card", "100000.01"),
        ("Cheque", "999.99"),
        ("Cheque", "1000000.01"),
        ("Bank Transfer", "1000000.01"),
    ):
        with ruled_out():
            dairy_app.payment(customer, amount, payment_method=method)
    payment = dairy_app.payment(customer, 50000, payment_method="Cash")
    with ruled_out():
        dairy_app.app.run("update public.payments set amount = 50001 where id = %s", payment)
    dairy_app.payment(customer, 5_000_000)  # without a method: no limit of one
    dairy_app.assert_sound()


def test_nobody_is_believed_about_derived_columns(dairy_app: Dairy) -> None:
    customer = dairy_app.customer()
    payment = dairy_app.payment(customer, 800, amount_applied=800)
    invoice = dairy_app.invoice(customer, 500, amount_paid=500, amount_outstanding=0)
    dairy_app.app.run(
        "update public.payments set amount_applied = 1, amount_unapplied = 2,"
        " allocation_status = 'fully_applied' where id = %s",
        payment,
    )
    dairy_app.app.run(
        "update public.invoice_metadata set amount_paid = 1, amount_outstanding = 2,"
        " invoice_status = 'paid' where id = %s",
        invoice,
    )
    assert columns_of(
        dairy_app.payment_row(payment), "amount_applied", "amount_unapplied", "allocation_status"
    ) == (0, 800, "unapplied")
    assert columns_of(
        dairy_app.invoice_row(invoice), "amount_paid", "amount_outstanding", "invoice_status"
    ) == (0, 500, "sent")


@pytest.mark.parametrize("amount", ["NaN", "Infinity", 0, -1, "1.005", 10**10])
def test_a_payment_is_a_sum_of_money(dairy_app: Dairy, amount: object) -> None:
    with ruled_out():
        dairy_app.payment(dairy_app.customer(), amount)


def test_unknown_ids_are_not_found(dairy_app: Dairy) -> None:
    nobody = uuid4()
    for function, arguments in (
        ("rollback_partial_allocation", {}),
        ("unallocate_payment", {"p_invoice_ids": None, "p_reason": "x"}),
        ("update_payment_atomic", {"p_amount": 1, "p_allocations": None, "p_reason": "x"}),
        ("void_payment", {"p_reason": "x"}),
        ("auto_allocate_payment", {}),
    ):
        with refused(status=404):
            dairy_app.app.rpc(function, p_payment_id=nobody, **arguments)
