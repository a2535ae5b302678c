"""Inside of a trigger of the project's own a call or a direct write does what it does outside.

Our counters write inside of triggers, as the owner; so does a call of ours in anybody's trigger,
and a `security definer` trigger of the project's. Each statement is run outside, taken back, and
run inside: the books must be the same.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest

from dairy.billing import Billing
from dairy.books import table_rows
from support.databases import Database

BOOKS = [
    "public.customers",
    "public.payments",
    "public.invoice_metadata",
    "public.invoice_line_items",
    "public.invoice_payments",
    "public.opening_balance_payments",
    "public.sales_payments",
    "public.unapplied_payments",
    "public.sales",
    "public.invoice_sales_mapping",
    "public.audit_trail",
    "private.allocation_journal",
    "private.settlement_journal",
    "private.payment_edits",
]

OF_THE_PROJECT, OF_ONES_OWN = "public.returned_cheques", "pg_temp.returned"
"""Tables with a trigger that runs what is inserted: as its owner, the realistic one, and as whoever
inserts; a role of the API can make the other."""

TRIGGERS = """
create table public.returned_cheques (statement text);
grant insert on public.returned_cheques to authenticated, service_role;
create function public.on_returned() returns trigger language plpgsql security definer
set search_path = public, pg_temp as $$ begin execute new.statement; return null; end $$;
create trigger on_returned after insert on public.returned_cheques
for each row execute function public.on_returned();

create temporary table returned (statement text);
grant insert on returned to authenticated, service_role;
create function pg_temp.on_returned() returns trigger language plpgsql as $$
begin execute new.statement; return null; end $$;
create trigger on_returned after insert on returned
for each row execute function pg_temp.on_returned();
"""


@dataclass(frozen=True)
class Scene:
    """One of each: what is free, what is paid, billed, cancelled and deleted."""

    books: Billing
    named: dict[str, UUID]
    """By the names that the statements call them by."""


@pytest.fixture
def scene(dairy_hardened: Database) -> Scene:
    books = Billing(dairy_hardened.connect())
    customer = books.customer(opening_balance=200)
    other = books.customer()
    named = {
        "customer": customer,
        "other": other,
        "payment": books.payment(customer, 100),
        "allocated": books.payment(customer, 100),
        "legacy": books.payment(customer, 100),
        "spread": books.payment(customer, 200),
        "sale": books.sale(customer, 40),
        "paid_sale": books.sale(customer, 30),
        "sales_1": books.sale(customer, 50),
        "sales_2": books.sale(customer, 60),
        "sales_3": books.sale(customer, 70),
        "sales_4": books.sale(other, 80),
        "plain": books.invoice(customer, 100),
    }
    named["delivery"] = books.delivery(other)
    for key, sale in (("billed", 1), ("cancelled", 2), ("deleted", 3)):
        named[key] = books.billed(customer, named[f"sales_{sale}"])
    named["draft"] = books.invoice(customer, 90, status="draft")
    named["held"] = books.invoice(customer, 100)
    books.cancel(named["cancelled"])
    books.delete(named["deleted"])
    books.allocate(named["allocated"], {named["held"]: 40})
    books.allocate_directly(named["legacy"], named["plain"], 25)
    books.pay_opening(named["spread"], customer, 60)
    books.pay_sales(named["spread"], named["paid_sale"])
    books.run(TRIGGERS)
    assert books.broken() == []
    books.connection.commit()
    return Scene(books, named)


CALLS = {
    "allocate": "select public.allocate_payment_atomic('{payment}',"
    ' \'[{{"invoiceId": "{billed}", "amount": 50}}, {{"invoiceId": "{held}", "amount": 50}}]\')',
    "roll back": "select public.rollback_partial_allocation('{legacy}')",
    "unallocate": "select public.unallocate_payment('{allocated}', null, 'a mistake')",
    "change an amount": "select public.update_payment_atomic('{allocated}', 60, null, 'misread')",
    "raise an amount": "select public.update_payment_atomic('{allocated}', 160, null, null)",
    "replace allocations": "select public.update_payment_atomic('{allocated}', 80,"
    ' \'[{{"invoiceId": "{billed}", "amount": 50}}]\', null)',
    "void": "select public.void_payment('{payment}', 'returned')",
    "void what is spread": "select public.void_payment('{spread}', 'returned')",
    "pay the opening balance": "select public.allocate_opening_balance_atomic('{payment}',"
    " '{customer}', 70)",
    "pay a sale": "select public.allocate_payment_to_sales_atomic('{payment}',"
    ' \'[{{"saleId": "{sale}"}}]\')',
    "pay what is oldest": "select public.auto_allocate_payment('{spread}', 'oldest_first')",
    "record": "select public.record_payment_atomic('"
    '{{"customer_id": "{customer}", "amount": 120, "payment_date": "2025-09-10",'
    ' "allocations": [{{"invoiceId": "{billed}", "amount": 50}}], "opening_balance": 20,'
    ' "sales": [{{"saleId": "{sale}"}}]}}\')',
    "delete": "select public.delete_invoice_safe('{billed}')",
    "delete for good": "select public.delete_invoice_safe('{billed}', true)",
    "delete as the app": "select public.delete_invoice_and_revert_sales('{billed}')",
    "delete many": "select public.delete_bulk_invoices_safe(array['{billed}', '{plain}',"
    " '{draft}']::uuid[], false)",
    "recover": "select public.recover_invoice('{deleted}')",
    "bill": "select public.generate_invoice_atomic('{other}', '2025-08-01', '2025-08-31')",
    "bill in bulk": "select public.generate_bulk_invoices_atomic('2025-08-01', '2025-08-31',"
    " array['{other}']::uuid[])",
    "refresh": "select public.update_invoice_status('{billed}')",
    "refresh with sales": "select public.update_invoice_status_with_sales_completion('{held}')",
    "repair": "select public.fix_unapplied_payments_inconsistencies(false)",
}
"""What people and programs call, by what it is called; names in braces are the scene's."""

WRITES = {
    "edit an amount": "update public.payments set amount = 60 where id = '{allocated}'",
    "edit everything": "update public.payments set amount = 60, amount_applied = 0,"
    " amount_unapplied = 60, allocation_status = 'unapplied' where id = '{allocated}'",
    "void directly": "update public.payments set voided_at = '2020-01-01', voided_by = 'x',"
    " void_reason = 'typed twice' where id = '{payment}'",
    "give to another": "update public.payments set customer_id = '{other}' where id = '{payment}'",
    "give to nobody": "update public.payments set customer_id = null where id = '{payment}'",
    "delete a payment": "delete from public.payments where id = '{payment}'",
    "insert a payment": "insert into public.payments (customer_id, amount, payment_date,"
    " amount_applied, amount_unapplied) values ('{customer}', 15, '2025-09-10', 3, 12)",
    "delete the mirror": "delete from public.unapplied_payments",
    "write the mirror": "update public.unapplied_payments set amount_unapplied = 1",
    "add to the mirror": "insert into public.unapplied_payments (customer_id, payment_id,"
    " amount_unapplied, reason) values ('{customer}', '{payment}', 7, 'advance')",
    "insert an allocation": "insert into public.invoice_payments (payment_id, invoice_id,"
    " amount_allocated) values ('{payment}', '{billed}', 50)",
    "raise an allocation": "update public.invoice_payments set amount_allocated = 100"
    " where payment_id = '{allocated}'",
    "delete an allocation": "delete from public.invoice_payments",
    "pay the opening balance directly": "insert into public.opening_balance_payments"
    " (customer_id, payment_id, amount) values ('{customer}', '{payment}', 30)",
    "pay a sale directly": "insert into public.sales_payments (sales_id, payment_id,"
    " amount_allocated) values ('{sale}', '{payment}', 40)",
    "take off a sale": "delete from public.sales_payments",
    "change a total": "update public.invoice_metadata set total_amount = 25 where id = '{plain}'",
    "change all of an invoice": "update public.invoice_metadata set total_amount = 130,"
    " amount_paid = 0, amount_outstanding = 7, invoice_status = 'sent', last_payment_date = null,"
    " due_date = '2020-01-01' where id = '{held}'",
    "let it fall due": "update public.invoice_metadata set due_date = '2020-01-01'"
    " where id = '{billed}'",
    "cancel": "update public.invoice_metadata set invoice_status = 'cancelled'"
    " where id in ('{billed}', '{draft}')",
    "bring back": "update public.invoice_metadata set invoice_status = 'sent'"
    " where id = '{cancelled}'",
    "issue": "update public.invoice_metadata set invoice_status = 'sent' where id = '{draft}'",
    "issue what is overdue": "update public.invoice_metadata set invoice_status = 'sent',"
    " due_date = '2020-01-01' where id = '{draft}'",
    "say paid": "update public.invoice_metadata set invoice_status = 'paid'"
    " where id in ('{billed}', '{held}', '{draft}')",
    "say sent": "update public.invoice_metadata set invoice_status = 'sent' where id = '{held}'",
    "say nothing": "update public.invoice_metadata set invoice_status = null where id = '{held}'",
    "say deleted": "update public.invoice_metadata set deleted_at = now(), deleted_by = 'x'"
    " where id = '{billed}'",
    "add a line": "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id,"
    " line_total) values ('{draft}', 'manual_sale', '{sale}', 40)",
    "take lines off": "delete from public.invoice_line_items where invoice_id = '{billed}'",
    "delete an invoice directly": "with gone as (delete from public.invoice_line_items"
    " where invoice_id = '{billed}') delete from public.invoice_metadata where id = '{draft}'",
    "insert an invoice": "insert into public.invoice_metadata (customer_id, invoice_date,"
    " period_start, period_end, total_amount, amount_paid, invoice_status) values ('{customer}',"
    " '2025-09-01', '2031-08-01', '2031-08-31', 10, 10, 'paid')",
    "edit a balance": "update public.customers set opening_balance = 150 where id = '{customer}'",
}
"""The app's own statements, and people's."""

AS_SERVICE = {"delete many", "repair"}
"""What the app's users may not call."""


@contextmanager
def undone(scene: Scene, role: str) -> Iterator[None]:
    """As this role; what is written is taken back."""
    scene.books.run(f"set local role {role}")
    try:
        yield
    finally:
        scene.books.connection.rollback()


def state(scene: Scene) -> dict[str, list[str]]:
    """The books, without what no two runs have in common."""
    scene.books.run("reset role")
    known = {str(name) for name in scene.named.values()}
    return {
        table: sorted(_settled(row, known) for (row,) in rows)
        for table, rows in table_rows(scene.books.connection, BOOKS).items()
    }


def _settled(row: str, known: set[str]) -> str:
    row = re.sub(r'"id": \d+', '"id": 0', row)
    row = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", "then", row)
    return re.sub(
        r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        lambda found: found[0] if found[0] in known else "new",
        row,
    )


def outside(scene: Scene, statement: str, role: str) -> dict[str, list[str]]:
    """What the books say after the statement alone."""
    with undone(scene, role):
        scene.books.connection.execute(statement.encode())
        return state(scene)


def inside(scene: Scene, table: str, statement: str, role: str) -> dict[str, list[str]]:
    """What they say after the statement in this table's trigger."""
    with undone(scene, role):
        scene.books.connection.execute(f"insert into {table} values (%s)".encode(), [statement])
        return state(scene)


@pytest.mark.parametrize("statements", [CALLS, WRITES], ids=["calls", "writes"])
def test_in_a_trigger_they_do_the_same(scene: Scene, statements: dict[str, str]) -> None:
    """One scene for all: whatever they write is taken back."""
    differing: dict[tuple[str, str], list[str]] = {}

    for what, statement in statements.items():
        role = "service_role" if what in AS_SERVICE else "authenticated"
        named = statement.format(**scene.named)
        expected = outside(scene, named, role)
        for table in (OF_THE_PROJECT, OF_ONES_OWN):
            found = inside(scene, table, named, role)
            if found != expected:
                differing[what, table] = [
                    row for table in BOOKS for row in sorted({*found[table]} - {*expected[table]})
                ]

    assert differing == {}


def test_lines_are_not_changed_where_nobody_would_ask(scene: Scene) -> None:
    """The owner inside of a trigger could be the database itself, which looks at them elsewhere."""
    change = "update public.invoice_line_items set line_total = 1 where invoice_id = '{draft}'"
    line = "insert into public.invoice_line_items (invoice_id, line_item_type, line_total)"
    scene.books.run(f"{line} values ('{scene.named['draft']}', 'adjustment', 90)")
    scene.books.connection.commit()
    statement = change.format(**scene.named)

    with pytest.raises(psycopg.errors.FeatureNotSupported, match="as the owner"):
        inside(scene, OF_THE_PROJECT, statement, "authenticated")
    assert inside(scene, OF_ONES_OWN, statement, "authenticated") == outside(
        scene, statement, "authenticated"
    )


def test_what_says_nothing_of_them_is_not_refused(scene: Scene) -> None:
    inside(
        scene,
        OF_THE_PROJECT,
        "update public.invoice_line_items set product_name = 'Milk', line_total = line_total",
        "authenticated",
    )


def test_a_call_within_a_call_leaves_the_rest_to_the_outer_one(scene: Scene) -> None:
    """A project's trigger on payments allocates: what is written after it has its call, too."""
    books, named = scene.books, scene.named
    other = books.payment(named["customer"], 10)
    books.run(
        f"""
        create function public.on_recorded() returns trigger language plpgsql as $$
        begin
          perform public.allocate_payment_atomic(
            '{other}', '[{{"invoiceId": "{named["held"]}", "amount": 10}}]'
          );
          return null;
        end $$;
        create trigger on_recorded after insert on public.payments
        for each row execute function public.on_recorded();
        """
    )
    with undone(scene, "authenticated"):
        books.run(CALLS["record"].format(**named))
        books.run("reset role")
        journal = books.connection.execute(
            """
            select call_id from private.allocation_journal where at = now()
            union all
            select call_id from private.settlement_journal where at = now()
            """
        ).fetchall()
        setting = books.connection.execute("select current_setting('pymilk.call_id')").fetchone()

    assert len(journal) == 4
    assert None not in {row[0] for row in journal}
    assert len({row[0] for row in journal}) == 2
    assert setting == ("",)
