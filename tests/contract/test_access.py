"""Who may do what, once everything is deployed."""

import json

import psycopg
import pytest

from contract.app import Dairy, Session

RPCS = (
    "allocate_payment_atomic",
    "rollback_partial_allocation",
    "unallocate_payment",
    "update_payment_atomic",
    "reconcile_unapplied_payments",
    "fix_unapplied_payments_inconsistencies",
    "allocate_opening_balance_atomic",
    "delete_invoice_safe",
    "recover_invoice",
    "generate_bulk_invoices_atomic",
    "delete_bulk_invoices_safe",
    "calculate_customer_outstanding",
    "outstanding_breakdown",
    "validate_outstanding",
    "normalize_payment_method",
    "next_invoice_number",
    "generate_invoice_atomic",
    "record_payment_atomic",
    "allocate_payment_to_sales_atomic",
    "void_payment",
    "auto_allocate_payment",
    "check_payment_invariants",
    "request_outcome",
    "business_today",
    "update_invoice_status",
    "update_invoice_status_with_sales_completion",
    "get_next_invoice_sequence",
    "delete_invoice_and_revert_sales",
)
OFFICE_ONLY = {"fix_unapplied_payments_inconsistencies", "delete_bulk_invoices_safe"}


def executable(dairy: Dairy, role: str) -> dict[str, bool]:
    rows = dairy.owner.rows(
        "select proname, has_function_privilege(%s, oid, 'execute') as may from pg_proc"
        " where pronamespace = 'public'::regnamespace and proname = any(%s)",
        role,
        list(RPCS),
    )
    assert sorted(row["proname"] for row in rows) == sorted(RPCS), "each is there exactly once"
    return {row["proname"]: row["may"] for row in rows}


def test_who_executes_what(dairy_app: Dairy) -> None:
    assert not any(executable(dairy_app, "anon").values())
    assert all(executable(dairy_app, "service_role").values())
    refused = {name for name, may in executable(dairy_app, "authenticated").items() if not may}
    assert refused == OFFICE_ONLY


def test_anon_reaches_nothing(dairy_app: Dairy) -> None:
    tables = dairy_app.owner.rows(
        "select oid::regclass::text as name, relrowsecurity from pg_class"
        " where relnamespace = 'public'::regnamespace and relkind = 'r'"
    )
    assert all(table["relrowsecurity"] for table in tables)
    anon = Session(dairy_app.database.connect(role="anon", autocommit=True))
    for table in tables:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            anon.rows(f"select from {table['name']} limit 1")
    found = dairy_app.owner.rows(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        " and has_function_privilege('anon', oid, 'execute')"
    )
    assert found == []


def test_staff_read_everything(dairy_app: Dairy) -> None:
    for table in dairy_app.owner.rows(
        "select oid::regclass::text as name from pg_class"
        " where relnamespace = 'public'::regnamespace and relkind = 'r'"
    ):
        name = table["name"]
        count = f"select count(*) from {name}"
        assert dairy_app.app.value(count) == dairy_app.owner.value(count), name


@pytest.mark.parametrize("table", ["audit_trail", "invoice_counters", "bulk_operation_logs"])
@pytest.mark.parametrize("role", ["authenticated", "service_role"])
def test_the_databases_own_tables_are_written_by_it_alone(
    dairy_app: Dairy, table: str, role: str
) -> None:
    session = dairy_app.session(role)
    for statement in (
        f"insert into public.{table} default values",
        f"delete from public.{table}",
        f"truncate public.{table}",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.run(statement)


def test_who_called_stands_on_every_row_that_moves_money(dairy_app: Dairy) -> None:
    staff = "3f0e0000-0000-4000-8000-00000000c0de"
    dairy_app.app.run(
        "select set_config('request.jwt.claims', %s, false)", json.dumps({"sub": staff})
    )
    customer = dairy_app.customer()
    payment, invoice = dairy_app.payment(customer, 800), dairy_app.invoice(customer, 1000)
    dairy_app.allocate(payment, (invoice, 300))
    journal = dairy_app.owner.rows(
        "select recorded_by from private.allocation_journal where payment_id = %s", payment
    )
    assert [row["recorded_by"] for row in journal] == [staff]
    assert dairy_app.owner.rows(
        "select from public.audit_trail where entity_id = %s and recorded_by = %s",
        payment,
        staff,
    )
