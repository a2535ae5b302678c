"""Each invariant, shown red once: corrupted on purpose past its guards; green otherwise."""

from collections.abc import Iterator

import pytest

from dairy.books import INVARIANTS
from dairy.planted import plant
from pymilk.database.cluster import SUPERUSER
from pymilk.database.connection import Connection
from support.databases import Database, Templates

STRANGER = "(select id from public.customers order by id limit 1)"

RED = {
    "allocation_amounts_valid": "update public.invoice_payments set amount_allocated = 0.001",
    "allocations_two_sided": "update public.invoice_payments set payment_id = null",
    "allocations_within_one_customer": (
        f"update public.invoice_metadata set customer_id = {STRANGER}"
    ),
    "billed_amounts_are_the_lines": "update public.deliveries set total_amount = total_amount + 1",
    "billed_amounts_valid": "update public.deliveries set total_amount = 'NaN'",
    "billed_deliveries_are_the_customers": (
        "update public.deliveries set delivery_status = 'cancelled'"
    ),
    "billed_once": (
        "insert into public.invoice_line_items (invoice_id, sale_id, line_total, bills)"
        " select invoice_id, sale_id, line_total, false from public.invoice_line_items where bills"
    ),
    "billed_sales_are_the_customers": (
        f"update public.sales set customer_id = {STRANGER} where customer_id is not null"
    ),
    "billed_sales_paid_through_invoice": (
        "insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
        " select line.sale_id, payment.id, 50 from public.invoice_line_items as line"
        " cross join public.payments as payment where line.bills and line.sale_id is not null"
    ),
    "cancelled_invoices_hold_nothing": (
        "update public.invoice_metadata set invoice_status = 'cancelled'"
    ),
    "deleted_invoices_are_cancelled": "update public.invoice_metadata set invoice_status = 'sent'",
    "invoice_numbers_counted": "update public.invoice_counters set last_number = 0",
    "invoice_numbers_unique": (
        "alter table public.invoice_metadata drop constraint invoice_metadata_invoice_number_key;"
        " update public.invoice_metadata set invoice_number = '20252600001'"
    ),
    "invoice_totals_true": "update public.invoice_metadata set amount_paid = amount_paid + 1",
    "invoice_totals_valid": "update public.invoice_metadata set total_amount = 'NaN'",
    "invoices_within_total": "update public.invoice_metadata set total_amount = 1",
    "issued_invoices_add_up": "update public.invoice_line_items set line_total = line_total + 1",
    "lines_bill_while_live": "update public.invoice_line_items set bills = not bills",
    "live_invoices_apart": (
        "update public.invoice_metadata set invoice_status = 'sent', deleted_at = null,"
        " period_start = '2025-08-01', period_end = '2025-08-31'"
    ),
    "mapping_agrees_with_lines": "update public.invoice_sales_mapping set released_at = now()",
    "money_conserved": "update public.payments set amount_unapplied = amount_unapplied + 1",
    "opening_balances_paid_true": (
        "update public.customers set opening_balance_paid = opening_balance_paid + 1"
    ),
    "opening_balances_valid": "update public.customers set opening_balance = 0.001",
    "opening_balances_within_balance": "update public.customers set opening_balance = 5",
    "outstanding_both_ways": (
        "update public.invoice_metadata set amount_outstanding = amount_outstanding + 1"
    ),
    "payment_amounts_valid": "update public.payments set amount = 'NaN'",
    "payment_methods_canonical": "update public.payments set payment_method = 'barter'",
    "payment_methods_within_limits": (
        "update public.payments set payment_method = 'Cash', amount = 60000"
    ),
    "payment_totals_true": "update public.payments set amount_applied = amount_applied + 1",
    "payments_allocated_have_customer": "update public.payments set customer_id = null",
    "payments_within_amount": "update public.payments set amount = 1",
    "sale_totals_valid": "update public.sales set total_amount = 0.001",
    "sales_paid_are_credit": (
        "update public.sales set sale_type = 'Cash', customer_id = null,"
        " payment_status = 'Completed'"
    ),
    "sales_paid_true": "update public.sales set amount_paid = amount_paid + 1",
    "sales_paid_whole": "update public.sales_payments set amount_allocated = 1",
    "settlements_within_one_customer": (
        f"update public.opening_balance_payments set customer_id = {STRANGER}"
    ),
    "unapplied_payments_true": "delete from public.unapplied_payments",
    "voided_payments_hold_nothing": (
        "update public.payments set voided_at = now(), voided_by = 'x', void_reason = 'y'"
    ),
}
"""Invariant → what breaks it, where no trigger looks."""


@pytest.fixture(scope="module")
def _world(templates: Templates) -> Iterator[Database]:
    with templates.clone("dairy_hardened") as database:
        plant(database)
        yield database


@pytest.fixture
def unseen(_world: Database) -> Iterator[Connection]:
    """A session in which no trigger looks; what it does is taken back."""
    with _world.lent() as world:
        session = world.connect(user=SUPERUSER)
        session.execute("set local session_replication_role = replica")
        yield session
        session.rollback()


def test_every_invariant_is_shown_red() -> None:
    assert sorted(RED) == [path.stem for path in INVARIANTS]


@pytest.mark.parametrize("invariant", sorted(RED))
def test_green_until_it_is_broken(unseen: Connection, invariant: str) -> None:
    query = next(path for path in INVARIANTS if path.stem == invariant).read_bytes()
    assert unseen.execute(query).fetchall() == []
    unseen.execute(RED[invariant])
    assert unseen.execute(query).fetchall() != []
