"""Gap 001 comes, is verified, and goes again without a trace; live rows are only ever corrected."""

import re
from uuid import UUID

import psycopg
import pytest

from dairy.books import Books, refused, ruled_out, table_rows
from dairy.legacy import Legacy
from dairy.scripts import (
    BASELINE,
    MIGRATION,
    ROLLBACK,
    VERIFY,
    ScriptFailedError,
    dump,
    dump_rows,
    psql,
    run_file,
)
from support.databases import ROOT, Database

STATE = sorted((ROOT / "sql" / "state").glob("*.sql"))
TABLES = [
    "public.customers",
    "public.payments",
    "public.invoice_metadata",
    "public.invoice_payments",
    "public.opening_balance_payments",
    "public.sales_payments",
    "public.unapplied_payments",
    "private.request_keys",
    "private.allocation_journal",
    "private.cached_total_corrections",
]


def state(books: Books) -> list[str]:
    # as text: NaN is not equal to itself in Python
    return [str(books.connection.execute(path.read_bytes()).fetchall()) for path in STATE]


def test_it_applies_with_psql_on_the_demo_dairy_and_on_an_empty_database(
    empty_database: Database, dairy: Database
) -> None:
    psql(empty_database.url, "--file", str(BASELINE))  # each statement its own transaction
    psql(empty_database.url, "--file", str(MIGRATION))
    said = run_file(dairy.url, MIGRATION)

    assert "cached totals corrected: 0 payments, 0 invoices" in said
    schemas = [dump(each.url, "--schema-only") for each in (empty_database, dairy)]
    assert schemas[0] == schemas[1]


def test_what_it_finds_wrong_it_corrects_and_remembers(dairy: Database) -> None:
    books = Books(dairy.connect(autocommit=True))
    legacy = Legacy(books)
    before, balances = table_rows(books.connection, ["public.invoice_payments"]), state(books)
    amounts = books.rows("select id, amount::text from public.payments order by id")

    said = run_file(dairy.url, MIGRATION)

    assert "cached totals corrected: 3 payments, 4 invoices" in said
    assert books.payment_totals(legacy.true) == (300, 500, "partially_applied")
    assert books.payment_totals(legacy.forgotten) == (700, 100, "partially_applied")
    assert books.payment_totals(legacy.over) == (501, -1, "fully_applied")
    assert books.invoice_totals(legacy.open) == (801, 199, "partially_paid")
    assert books.invoice_totals(legacy.paid) == (700, 0, "paid")
    assert books.invoice_totals(legacy.late) == (0, 50, "sent")  # stale by the day is no mistake
    corrected = dict(
        books.rows(
            "select row_id, was ->> 'amount_applied' from private.cached_total_corrections"
            " where table_name = 'payments'"
        )
    )
    assert set(corrected) == {legacy.forgotten, legacy.over, legacy.strange}
    assert table_rows(books.connection, ["public.invoice_payments"]) == before
    assert books.rows("select id, amount::text from public.payments order by id") == amounts
    assert state(books) == balances


def test_ordinary_offenders_stay_and_are_listed(dairy: Database) -> None:
    books = Books(dairy.connect(autocommit=True))
    legacy = Legacy(books)
    run_file(dairy.url, MIGRATION)

    found = {(invariant, UUID(entity_id)) for invariant, _, entity_id, *_ in books.broken()}

    strange_rows = {
        invoice: id_
        for id_, invoice in books.rows(
            "select id, invoice_id from public.invoice_payments where payment_id = %s",
            legacy.strange,
        )
    }
    assert found == {
        ("payments_within_amount", legacy.over),
        ("payment_amounts_valid", legacy.fraction),
        ("payment_amounts_valid", legacy.nan),
        ("cancelled_invoices_hold_nothing", legacy.cancelled),
        (
            "allocations_within_one_customer",
            next(id_ for invoice, id_ in strange_rows.items() if invoice != legacy.cancelled),
        ),
    }


def test_offenders_can_be_touched_and_can_get_better_never_worse(dairy: Database) -> None:
    books = Books(dairy.connect(autocommit=True))
    legacy = Legacy(books)
    run_file(dairy.url, MIGRATION)

    books.run("update public.payments set notes = 'looked at', payment_method = 'UPI'")
    books.run("update public.invoice_metadata set file_path = 'x', status = 'Sent'")
    books.run("update public.invoice_payments set notes = 'looked at'")
    with pytest.raises(psycopg.errors.CheckViolation):
        books.allocate_directly(legacy.over, legacy.paid, 1)
    with pytest.raises(psycopg.errors.CheckViolation):
        books.run("update public.payments set amount = 499 where id = %s", legacy.over)
    with pytest.raises(psycopg.errors.CheckViolation):
        books.allocate_directly(legacy.nan, legacy.open, 1)
    books.run(
        "update public.invoice_payments set amount_allocated = 500.5 where payment_id = %s",
        legacy.over,
    )
    books.run("update public.payments set amount = 500.5 where id = %s", legacy.over)
    books.run(
        "update public.payments set amount = 10 where id in (%s, %s)", legacy.nan, legacy.fraction
    )
    books.run("delete from public.invoice_payments where payment_id = %s", legacy.strange)

    assert books.broken() == []


def test_legacy_amounts_at_the_limit_are_no_sums_of_money_and_take_nothing(dairy: Database) -> None:
    books = Books(dairy.connect(autocommit=True))
    customer = books.customer()
    huge, large = books.payment(customer, 10**10), books.payment(customer, 800)
    open_, enormous = books.invoice(customer, 1000), books.invoice(customer, 10**10)
    run_file(dairy.url, MIGRATION)

    with refused("allocation_exceeds_payment", status=409) as facts:
        books.allocate(huge, {open_: 1})
    assert facts["available"] == 0
    with ruled_out("payments_applied_within_amount"):
        books.allocate_directly(huge, open_, 1)
    with refused("allocation_exceeds_invoice", status=409) as facts:
        books.allocate(large, {enormous: 1})
    assert facts["available"] == 0
    with ruled_out("invoice_metadata_paid_within_total"):
        books.allocate_directly(large, enormous, 1)


def test_the_journal_tells_what_happened_since(dairy: Database) -> None:
    books = Books(dairy.connect(autocommit=True))
    legacy = Legacy(books)
    run_file(dairy.url, MIGRATION)
    journal = "select invoice_id, amount_change from private.allocation_journal order by id"
    assert books.rows(journal) == []

    books.allocate(legacy.true, {legacy.open: 50})
    books.run("delete from public.invoice_payments where payment_id = %s", legacy.true)

    assert books.rows(journal) == [(legacy.open, 50), (legacy.open, -350)]


def test_rolling_back_leaves_exactly_what_was_there(either_privileges: Database) -> None:
    url = either_privileges.url
    run_file(url, BASELINE)
    Legacy(Books(either_privileges.connect(autocommit=True)))
    schema, rows = dump(either_privileges.superuser_url), dump_rows(url)

    run_file(url, MIGRATION)
    assert dump_rows(url) != rows
    run_file(url, ROLLBACK)

    assert dump_rows(url) == rows
    assert without_rows(dump(either_privileges.superuser_url)) == without_rows(schema)
    run_file(url, MIGRATION)
    run_file(url, ROLLBACK)
    assert dump_rows(url) == rows


def without_rows(text: str) -> str:
    return re.sub(r"(?s)(\nCOPY .*?;\n).*?\n\\\.\n", r"\1", text)


def test_rolling_back_keeps_what_was_done_meanwhile(dairy: Database) -> None:
    books = Books(dairy.connect(autocommit=True))
    legacy = Legacy(books)
    run_file(dairy.url, MIGRATION)
    books.allocate(legacy.forgotten, {legacy.open: 100})
    kept = table_rows(books.connection, ["public.invoice_payments", "public.unapplied_payments"])
    balances = state(books)

    run_file(dairy.url, ROLLBACK)

    assert books.payment_totals(legacy.forgotten) == (800, 0, "fully_applied")  # moved since
    assert books.payment_totals(legacy.over) == (0, 500, "unapplied")  # as it was found
    assert books.invoice_totals(legacy.open) == (901, 99, "partially_paid")
    after = table_rows(books.connection, ["public.invoice_payments", "public.unapplied_payments"])
    assert after == kept
    assert state(books) == balances


def test_a_full_rollback_gives_the_app_its_own_four_calls_back(dairy_001: Database) -> None:
    run_file(dairy_001.url, ROLLBACK)
    books = Books(dairy_001.connect(role="authenticated", autocommit=True))
    customer = books.customer()
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
    books.allocate_directly(payment, invoice, 900)  # the weakness is back, and so is the app
    books.run("update public.payments set amount_applied = 1 where id = %s", payment)
    assert books.payment_totals(payment) == (1, 800, "unapplied")


def test_a_restore_of_the_rows_alone_ends_right(
    dairy_001: Database, empty_database: Database
) -> None:
    books = Books(dairy_001.connect(autocommit=True))
    customer = books.customer(opening_balance=500)
    invoices = [books.invoice(customer, 1000) for _ in range(3)]
    books.setting("pymilk.idempotency_key", "kept")
    first, second = books.payment(customer, 800), books.payment(customer, "1000.50")
    books.allocate(first, {invoices[0]: 300, invoices[1]: 500})
    books.setting("pymilk.idempotency_key", "")
    books.allocate_directly(second, invoices[0], 700)
    books.run(
        "update public.invoice_payments set amount_allocated = 250 where invoice_id = %s",
        invoices[1],
    )
    books.run(
        "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
        " values (%s, %s, 300.50)",
        customer,
        second,
    )
    for file in (BASELINE, MIGRATION):
        run_file(empty_database.url, file)

    psql(
        empty_database.url,
        script=dump(dairy_001.url, "--data-only", "--schema=public", "--schema=private"),
    )

    restored = Books(empty_database.connect(autocommit=True))
    assert table_rows(restored.connection, TABLES) == table_rows(books.connection, TABLES)
    assert restored.broken() == []
    restored.allocate(first, {invoices[2]: 250})
    assert restored.broken() == []


OVERLOAD = """
  create function public.allocate_payment_atomic(uuid) returns int language sql as 'select 1'
"""
CARELESS_PARSING = """
  create or replace function private.parse_allocations(
    p_allocations jsonb, out invoice_ids uuid[], out amounts numeric[]
  ) language sql as $$
    select array_agg((l ->> 'invoiceId')::uuid), array_agg((l ->> 'amount')::numeric)
    from jsonb_array_elements(p_allocations) as l
  $$
"""


SABOTAGE = [
    "drop trigger count_on_insert on public.invoice_payments",
    "drop trigger count_on_update on public.invoice_payments",
    "drop trigger count_on_delete on public.invoice_payments",
    "drop trigger refuse_overallocation on public.payments",
    "drop trigger refuse_overpayment on public.invoice_metadata",
    "drop trigger refuse_amount_on_insert on public.payments",
    "drop trigger derive_payment_on_insert on public.payments",
    "drop trigger derive_payment_on_update on public.payments",
    "drop trigger derive_payment_totals on public.payments",
    "drop trigger derive_invoice_on_insert on public.invoice_metadata",
    "drop trigger derive_invoice_on_update on public.invoice_metadata",
    "drop trigger derive_invoice_deeper on public.invoice_metadata",
    "grant execute on function public.allocate_payment_atomic to anon",
    "revoke execute on function public.allocate_payment_atomic from service_role",
    "grant usage on schema private to authenticated",
    "grant execute on function private.caller to authenticated",
    "grant select on private.request_keys to service_role",
    "alter table private.allocation_journal disable row level security",
    OVERLOAD,
    CARELESS_PARSING,
]


class TestVerify:
    """The canary: in effect or raised, and nothing left behind."""

    def test_it_passes_as_the_owner_whatever_the_default_privileges(
        self, either_privileges: Database
    ) -> None:
        for file in (BASELINE, MIGRATION):
            run_file(either_privileges.url, file)
        connection = either_privileges.connect()
        connection.execute(VERIFY.read_bytes())
        assert connection.execute("select current_user").fetchone() == ("postgres",)
        connection.rollback()
        count = connection.execute("select count(*) from public.customers").fetchone()
        assert count == (0,)

    def test_it_passes_beside_rows_that_offend(self, dairy: Database) -> None:
        Legacy(Books(dairy.connect(autocommit=True)))
        run_file(dairy.url, MIGRATION)
        connection = dairy.connect()
        connection.execute(VERIFY.read_bytes())
        connection.rollback()

    def test_it_fails_on_the_baseline(self, dairy: Database) -> None:
        with pytest.raises(ScriptFailedError, match="allocate_payment_atomic"):
            run_file(dairy.url, VERIFY)

    def test_it_fails_when_something_is_not_in_effect(self, dairy_001: Database) -> None:
        connection = dairy_001.connect()
        for sabotage in SABOTAGE:
            connection.execute(sabotage.encode())
            try:
                connection.execute(VERIFY.read_bytes())
            except psycopg.Error:
                connection.rollback()
            else:
                pytest.fail(f"verified all the same: {sabotage}")


class TestAccess:
    """Who may do what, in the catalog and through the roles."""

    def test_the_books_of_the_database_are_closed(self, dairy_001: Database) -> None:
        for role in ("anon", "authenticated", "service_role"):
            books = Books(dairy_001.connect(role=role, autocommit=True))
            for table in ("request_keys", "allocation_journal", "cached_total_corrections"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    books.rows(f"select * from private.{table}")

    def test_anon_cannot_call(self, dairy_001: Database) -> None:
        books = Books(dairy_001.connect(role="anon", autocommit=True))
        for call in (
            "select public.allocate_payment_atomic(null, null)",
            "select public.request_outcome('x')",
            "select public.check_payment_invariants()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                books.run(call)


def test_queries_from_outside_and_the_function_agree(dairy: Database) -> None:
    books = Books(dairy.connect(autocommit=True))
    Legacy(books)
    outside = books.violations()
    assert {"payment_totals_true", "invoice_totals_true", "money_conserved"} <= outside

    run_file(dairy.url, MIGRATION)

    inside = {row[0] for row in books.broken()}
    assert books.violations() == inside
    corrected = {"payment_totals_true", "invoice_totals_true", "money_conserved"}
    assert inside == outside - corrected - {"outstanding_both_ways"}
