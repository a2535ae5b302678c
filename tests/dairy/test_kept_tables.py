"""What the database keeps for itself is whole, also where a superuser writes past every trigger.

A journal that does not say who, a key without an answer, a log in no known state could not be told
from what is true, and calls would answer by it.
"""

from dataclasses import dataclass

import psycopg
import pytest

from dairy.books import Books, session_past_triggers
from support.databases import Database

UUID = "'00000000-0000-0000-0000-000000000001'"


@dataclass(frozen=True)
class Kept:
    """One table.

    Attributes:
        row: A row as it may be: column → value in SQL.
        free: The columns that may say nothing, those of the row and others.
        never: Column → values that are none.
    """

    row: dict[str, str]
    free: frozenset[str]
    never: dict[str, list[str]]


def kept(row: dict[str, str], *free: str, **never: list[str]) -> Kept:
    """Short to write."""
    return Kept(row, frozenset(free), never)


TABLES = {
    "private.request_keys": kept(
        {
            "caller": "'x'",
            "function_name": "'f'",
            "key": "'k'",
            "arguments": "'{}'",
            "call_id": UUID,
            "answer": "'{}'",
            "undone_at": "now()",
        },
        *("arguments", "answer", "undone_at"),
        key=["''", "' '", "repeat('k', 201)"],
    ),
    "private.allocation_journal": kept(
        {
            "recorded_by": "'x'",
            "payment_id": UUID,
            "invoice_id": UUID,
            "amount_change": "1",
        },
        *("call_id", "reason"),
        amount_change=["0"],
    ),
    "private.cached_total_corrections": kept(
        {"table_name": "'payments'", "row_id": UUID, "was": "'{}'", "corrected_to": "'{}'"},
        table_name=["'sales'"],
    ),
    "private.privileges_before": kept(
        {
            "migration": "'m'",
            "kind": "'table'",
            "object": "'o'",
            "privileges": "'{}'",
        },
        kind=["'schema'"],
    ),
    "private.payment_edits": kept(
        {"recorded_by": "'x'", "payment_id": UUID, "was": "'{}'", "became": "'{}'"},
        *("call_id", "reason"),
    ),
    "private.settlement_journal": kept(
        {
            "recorded_by": "'x'",
            "payment_id": UUID,
            "sale_id": UUID,
            "amount_change": "1",
        },
        *("call_id", "reason", "customer_id"),
        amount_change=["0"],
        # one of the two, and not both
        customer_id=[UUID],
        sale_id=["null"],
    ),
    "private.sale_status_corrections": kept(
        {"sale_id": UUID, "was": "'Billed'", "corrected_to": "'Pending'"}
    ),
    "public.invoice_sales_mapping": kept({"invoice_id": UUID, "sale_id": UUID}, "released_at"),
    "public.audit_trail": kept(
        {"recorded_by": "'x'", "action": "'deleted'", "entity": "'invoice'"},
        *("entity_id", "was", "became", "reason", "call_id"),
    ),
    "public.bulk_operation_logs": kept(
        {"operation": "'o'", "status": "'running'", "started_by": "'x'"},
        *("succeeded", "failed", "error", "finished_at"),
        status=["''", "'done'"],
    ),
    "public.failed_allocations": kept(
        {
            "function_name": "'f'",
            "reason": "'r'",
            "payment_id": UUID,
            "idempotency_key": "'k'",
            "reported_by": "'x'",
        },
        *("payment_id", "idempotency_key"),
        function_name=["''", "'a b'", "repeat('f', 101)"],
        reason=["''", "'Ramesh did not pay'", "repeat('r', 101)"],
        idempotency_key=["''", "' '", "repeat('k', 201)"],
        detail=["'[]'", "'1'"],
        # who has reported it is emptied along with the rest
        reported_by=["null"],
    ),
    "public.invoice_counters": kept(
        {"financial_year": "'203132'", "last_number": "99999"},
        financial_year=["'20313'", "'2031320'", "'20313a'", "'x203132'"],
        last_number=["-1", "100000"],
    ),
}


@pytest.fixture
def past_triggers(dairy_hardened: Database) -> Books:
    return session_past_triggers(dairy_hardened)


def refuses(books: Books, table: str, column: str, value: str) -> bool:
    """Whether a constraint refuses the value in the table's row."""
    try:
        with books.connection.transaction(force_rollback=True):
            books.run(f"update {table} set {column} = {value}")
    except (psycopg.errors.NotNullViolation, psycopg.errors.CheckViolation):
        return True
    return False


@pytest.mark.parametrize("table", TABLES)
def test_each_column_says_what_it_has_to(past_triggers: Books, table: str) -> None:
    books, told = past_triggers, TABLES[table]
    columns = {
        column
        for (column,) in books.rows(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
            " and not attisdropped and attidentity = ''",
            table,
        )
    }
    books.run(f"delete from {table}")
    books.run(
        f"insert into {table} ({', '.join(told.row)}) values ({', '.join(told.row.values())})"
    )
    assert {each for each in columns if not refuses(books, table, each, "null")} == told.free
    for column, values in told.never.items():
        assert [value for value in values if not refuses(books, table, column, value)] == []


def test_a_key_that_is_not_undone_has_arguments_and_an_answer(past_triggers: Books) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        past_triggers.run(
            "insert into private.request_keys (caller, function_name, key, call_id, arguments)"
            " values ('x', 'f', 'k', gen_random_uuid(), '{}')"
        )


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("public.customers", "opening_balance_paid"),
        ("public.sales", "amount_paid"),
        ("public.invoice_line_items", "bills"),
    ],
)
def test_what_a_gap_adds_to_a_table_of_the_app_is_never_unknown(
    past_triggers: Books, table: str, column: str
) -> None:
    past_triggers.run(
        "insert into public.invoice_line_items (line_item_type) values ('adjustment')"
    )
    assert refuses(past_triggers, table, column, "null")
