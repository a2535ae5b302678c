"""The verifications of gaps 007 and 010 fail when something of the gap is missing."""

import psycopg
import pytest

from support.databases import ROOT, Database

VERIFY = {
    gap: next((ROOT / "supabase" / "verify").glob(f"*_gap_{gap}_*.sql")) for gap in ("007", "010")
}
BILLING = "private.billing_lines(uuid[], date, date)"

SABOTAGE = {
    "007": {
        "anon may invoice": "grant execute on function public.generate_bulk_invoices_atomic(date,"
        " date, uuid[], boolean) to anon",
        "staff may delete": "grant execute on function"
        " public.delete_bulk_invoices_safe(uuid[], boolean) to authenticated",
        "staff can't preview": "revoke execute on function"
        " public.preview_bulk_invoices(date, date, uuid[]) from authenticated",
        "the log is open": "grant insert on public.bulk_operation_logs to authenticated",
        "no row security": "alter table public.bulk_operation_logs disable row level security",
        "an overload": "create function public.log_bulk_operation(p_operation text) returns int"
        " language sql as 'select 1'",
        "a private core is open": f"grant execute on function {BILLING} to authenticated",
        "pending ones are billed": "pending",
        "nobody looks at what is billed": "billed",
        "no total is checked": "valid",
        "another clock": "create or replace function public.business_today() returns date"
        " language sql as $$ select date '2001-01-01' + (random() * 1000)::int $$",
        "an invoice that is never refused": "refused",
        "any amount": "drop trigger refuse_total_on_update on public.deliveries",
        "any price": "drop trigger refuse_price_on_update on public.invoice_line_items",
        "the server's day": "alter table public.sales alter sale_date set default current_date",
        "wrong due dates": "create or replace function private.due_date(p_period_end date,"
        " p_billing_cycle_day integer) returns date language sql as 'select $1'",
    },
    "010": {
        "anon may invoice": "grant execute on function"
        " public.generate_invoice_atomic(uuid, date, date) to anon",
        "staff can't number": "revoke execute on function public.next_invoice_number(text)"
        " from authenticated",
        "counters are open": "grant update on public.invoice_counters to service_role",
        "no row security": "alter table public.invoice_counters disable row level security",
        "an overload": "create function public.next_invoice_number() returns int"
        " language sql as 'select 1'",
        "inserts may overlap": "drop trigger refuse_overlap_on_insert on public.invoice_metadata",
        "updates may overlap": "drop trigger refuse_overlap_on_update on public.invoice_metadata",
        "reversed periods come in": "drop trigger refuse_period_on_insert"
        " on public.invoice_metadata",
        "reversed periods come about": "drop trigger refuse_period_on_update"
        " on public.invoice_metadata",
        "the app's numbers aren't counted": "drop trigger count_invoice_number_on_insert"
        " on public.invoice_metadata",
        "nor those that it edits": "drop trigger count_invoice_number_on_update"
        " on public.invoice_metadata",
        "everybody gets one number": "create or replace function private.take_invoice_numbers("
        "p_financial_year text, p_count integer) returns integer language sql as 'select 1'",
    },
}

EDITS = {
    "pending": ("delivery.delivery_status = 'delivered'", "true"),
    "billed": ("billed.delivery_id = delivery.id and billed.bills", "false"),
    "valid": ("<= 0.005", "<= 5"),
    "refused": ("when overlap.customer_id is not null", "when false"),
}


@pytest.mark.parametrize("gap", VERIFY)
def test_it_holds_from_its_gap_on(gap: str, request: pytest.FixtureRequest) -> None:
    for stage in (f"dairy_{gap}", "dairy_hardened"):
        database: Database = request.getfixturevalue(stage)
        database.connect().execute(VERIFY[gap].read_bytes())


@pytest.mark.parametrize(
    ("gap", "what"), [(gap, what) for gap, whats in SABOTAGE.items() for what in whats]
)
def test_it_fails_when_something_is_missing(
    gap: str, what: str, request: pytest.FixtureRequest
) -> None:
    database: Database = request.getfixturevalue(f"dairy_{gap}")
    session = database.connect(autocommit=True)
    statement = SABOTAGE[gap][what]
    if statement in EDITS:
        row = session.execute("select pg_get_functiondef(%s::regprocedure)", (BILLING,)).fetchone()
        assert row is not None
        assert EDITS[statement][0] in row[0]
        statement = row[0].replace(*EDITS[statement])
    session.execute(statement.encode())
    with pytest.raises(psycopg.Error):
        session.execute(VERIFY[gap].read_bytes())
