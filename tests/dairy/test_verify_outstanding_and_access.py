"""The canaries of gap 008 and of harden_access sing when anything of it is missing."""

from pathlib import Path

import psycopg
import pytest

from support.databases import ROOT, Database

VERIFY = ROOT / "supabase" / "verify"
OUTSTANDING = VERIFY / "20250924000000_gap_008_outstanding.sql"
ACCESS = VERIFY / "20250927000000_harden_access.sql"

AS_IT_WAS = """
create or replace function public.calculate_customer_outstanding(customer_uuid uuid)
returns numeric language sql stable security definer as $$
  select coalesce(max(c.opening_balance - c.opening_balance_paid), 0)
    + coalesce(sum(i.amount_outstanding), 0)
  from public.customers as c
  left join public.invoice_metadata as i on c.id = i.customer_id
    and i.invoice_status in ('sent', 'partially_paid', 'overdue')
  where c.id = customer_uuid
$$
"""
"""What is missing reads as zero."""

YESTERDAYS = """
create or replace function public.business_today() returns date language sql stable
as 'select (now() at time zone ''Asia/Kolkata'')::date - 1'
"""


def sings(database: Database, canary: Path, sabotage: str) -> str:
    """What the verification says after the sabotage."""
    owner = database.connect()
    owner.execute(sabotage.encode())
    with pytest.raises(psycopg.Error) as caught:
        owner.execute(canary.read_bytes())
    owner.rollback()
    return str(caught.value)


@pytest.mark.parametrize(
    "sabotage",
    [
        "grant execute on function public.outstanding_breakdown(uuid, date) to anon",
        "revoke execute on function public.validate_outstanding(uuid) from service_role",
        "revoke execute on function public.calculate_customer_outstanding(uuid) from authenticated",
        "drop function public.validate_outstanding(uuid)",
        "drop index public.idx_opening_balance_payments_customer",
        "alter function public.outstanding_breakdown(uuid, date) volatile",
        "alter function public.calculate_customer_outstanding(uuid) rename to calculated",
        "create function public.outstanding_breakdown(uuid) returns int language sql as 'select 1'",
        AS_IT_WAS,
        YESTERDAYS,
        "alter table public.opening_balance_payments disable trigger user",
    ],
)
def test_outstanding(dairy_008: Database, sabotage: str) -> None:
    assert sings(dairy_008, OUTSTANDING, sabotage) != ""


@pytest.mark.parametrize(
    ("sabotage", "named"),
    [
        ("alter table public.invoice_payments disable row level security", "invoice_payments"),
        ("alter table public.routes disable row level security", "routes"),
        ("create table public.forgotten (id integer)", "forgotten"),
        ('drop policy "Allow all for authenticated" on public.unapplied_payments', "unapplied"),
        ('drop policy "Allow all for authenticated" on public.payments', "payments"),
        ("grant select on public.payments to anon", "SELECT on payments"),
        ("grant select (amount) on public.payments to anon", "SELECT on payments.amount"),
        ("grant references on public.sales to public", "REFERENCES on sales"),
        ("grant usage on sequence public.audit_trail_id_seq to anon", "USAGE on audit_trail_id"),
        ("grant execute on function public.business_today() to public", "EXECUTE on business"),
        ("grant execute on function public.void_payment(uuid, text) to anon", "void_payment"),
        ("grant execute on function private.caller() to anon", "private.caller()"),
        ("grant truncate on public.deliveries to authenticated", "TRUNCATE on deliveries"),
        ("grant trigger on public.deliveries to service_role", "TRIGGER on deliveries"),
        ("grant insert on public.audit_trail to service_role", "audit_trail"),
        ("grant update (last_number) on public.invoice_counters to authenticated", "counters"),
        ("revoke update on public.sales from authenticated", "cannot update sales"),
        ("revoke select on public.audit_trail from service_role", "cannot read audit_trail"),
        (
            "revoke execute on function public.update_invoice_status(uuid) from authenticated",
            "cannot execute update_invoice_status",
        ),
        (
            "revoke execute on function public.request_outcome(text) from service_role",
            "cannot execute request_outcome",
        ),
        (
            "alter default privileges in schema public grant select on tables to authenticated",
            "made later",
        ),
        ("alter default privileges grant execute on functions to public", "made later"),
    ],
)
def test_access(dairy_hardened: Database, sabotage: str, named: str) -> None:
    assert named in sings(dairy_hardened, ACCESS, sabotage)


def test_neither_sings_where_all_is_well(dairy_hardened: Database) -> None:
    for canary in (OUTSTANDING, ACCESS):
        owner = dairy_hardened.connect()
        owner.execute(canary.read_bytes())
        owner.rollback()
