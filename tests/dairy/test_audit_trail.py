"""The audit trail: what people say and do, who and why; appended to, never changed."""

from uuid import UUID

import pytest

from dairy.billing import Billing
from dairy.books import ruled_out
from support.databases import Database

LAST = (
    "select action, entity, was, became, recorded_by, reason, call_id is not null"
    " from public.audit_trail where entity_id = %s order by id desc limit 1"
)


@pytest.mark.parametrize(
    "change",
    [
        "update public.audit_trail set reason = 'x'",
        "update public.audit_trail set reason = 'x' where false",
        "delete from public.audit_trail",
        "truncate public.audit_trail",
    ],
)
def test_it_is_only_ever_appended_to(billing: Billing, change: str) -> None:
    billing.payment(billing.customer(), 10)
    with ruled_out("audit_trail_append_only"):
        billing.run(change)


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_nobody_writes_it_and_staff_read_it(billing: Billing, role: str) -> None:
    for table in ("audit_trail", "invoice_sales_mapping"):
        for privilege in ("insert", "update", "delete", "truncate"):
            assert not billing.value(
                "select has_table_privilege(%s, %s, %s)", role, f"public.{table}", privilege
            )
        reads = billing.value(
            "select has_table_privilege(%s, %s, 'select')", role, f"public.{table}"
        )
        assert reads is (role != "anon")
    billing.payment(billing.customer(), 10)
    if role == "authenticated":
        billing.run("set role authenticated")
        assert billing.value("select count(*) from public.audit_trail") > 0


def test_a_payment_from_its_record_to_its_end(billing: Billing) -> None:
    customer = billing.customer()
    payment = billing.payment(customer, 800)
    action, entity, was, became, who, _, _ = billing.rows(LAST, payment)[0]
    assert (action, entity, was, who) == ("created", "payment", None, "postgres")
    assert (became["amount"], became["customer_id"]) == (800, str(customer))

    billing.run("update public.payments set amount = 900, notes = 'x' where id = %s", payment)
    assert billing.rows(LAST, payment)[0][:4] == (
        "edited",
        "payment",
        {"amount": 800, "notes": None},
        {"amount": 900, "notes": "x"},
    )
    billing.run("delete from public.unapplied_payments where payment_id = %s", payment)
    billing.run("delete from public.payments where id = %s", payment)
    action, _, was, became, *_ = billing.rows(LAST, payment)[0]
    assert (action, was["amount"], became) == ("removed", 900, None)


def test_a_void_is_told_as_such_with_its_reason(billing: Billing) -> None:
    payment = billing.payment(billing.customer(), 800)
    billing.ask("public.void_payment(%s, 'bounced')", payment)
    action, _, _, became, _, reason, called = billing.rows(LAST, payment)[0]
    assert (action, reason, called) == ("voided", "bounced", True)
    assert became["void_reason"] == "bounced"


def test_moving_money_writes_nothing(billing: Billing) -> None:
    customer = billing.customer(opening_balance=100)
    sale = billing.sale(customer, 50)
    payment, invoice = billing.payment(customer, 800), billing.billed(customer)
    before = billing.value("select count(*) from public.audit_trail")
    billing.allocate(payment, {invoice: 60})
    billing.allocate_directly(billing.payment(customer, 40), invoice, 40)
    billing.pay_opening(payment, customer, 100)
    billing.pay_sales(payment, sale)
    billing.run("delete from public.invoice_payments where payment_id = %s", payment)
    billing.run("select public.update_invoice_status(%s)", invoice)
    billing.run(
        "update public.payments set amount_applied = 5, updated_at = now() where id = %s", payment
    )
    # but for the second payment's own record
    assert billing.value("select count(*) from public.audit_trail") == before + 1


def test_an_invoice_and_its_states(billing: Billing) -> None:
    invoice = billing.invoice(billing.customer(), 100, status="draft")
    billing.set_status(invoice, "sent")
    billing.run("update public.invoice_metadata set total_amount = 90 where id = %s", invoice)
    billing.cancel(invoice)
    billing.set_status(invoice, "sent")
    billing.delete(invoice)
    billing.recover(invoice)
    billing.delete(invoice, permanent=True)
    assert billing.trail(invoice) == [
        "created",
        "edited",
        "edited",
        "cancelled",
        "reinstated",
        "deleted",
        "recovered",
        "removed",
    ]


def test_an_opening_balance_that_is_edited(billing: Billing) -> None:
    customer = billing.customer(opening_balance=100)
    assert billing.trail(customer) == []
    billing.run("update public.customers set address = 'x' where id = %s", customer)
    assert billing.trail(customer) == []
    billing.run("update public.customers set opening_balance = 90 where id = %s", customer)
    assert billing.rows(LAST, customer)[0][:4] == (
        "edited",
        "customer",
        {"opening_balance": 100},
        {"opening_balance": 90},
    )


def test_who_and_why(billing: Billing) -> None:
    customer = billing.customer()
    billing.setting("request.jwt.claims", f'{{"sub": "{UUID(int=7)}"}}')
    billing.setting("pymilk.reason", "asked for by phone")
    billing.run("set role authenticated")
    payment = billing.payment(customer, 10)
    billing.run("reset role")
    *_, who, reason, called = billing.rows(LAST, payment)[0]
    assert (who, reason, called) == (str(UUID(int=7)), "asked for by phone", False)


def test_the_app_cannot_pass_for_a_restore(dairy_006: Database) -> None:
    """Rows with an old created_at are not entered again, but for those of the API's roles."""
    insert = (
        "insert into public.payments (amount, payment_date, created_at)"
        " values (10, '2025-09-10', '2025-09-10') returning id"
    )
    owner = Billing(dairy_006.connect(autocommit=True))
    app = Billing(dairy_006.connect(role="authenticated", autocommit=True))
    assert owner.trail(owner.value(insert)) == []
    assert owner.trail(app.value(insert)) == ["created"]


def test_what_was_rolled_back_did_not_happen(dairy_006: Database) -> None:
    owner = Billing(dairy_006.connect())
    payment = owner.payment(owner.customer(), 10)
    assert owner.trail(payment) == ["created"]
    owner.connection.rollback()
    assert owner.trail(payment) == []
