"""Around a bulk run: its log, deleting what it made, a month at size, rollback and return."""

import json
from datetime import date
from uuid import UUID, uuid4

import psycopg
import pytest

from dairy.books import refused, table_rows
from dairy.invoicing import KEY, SEPTEMBER, Answer, Invoicing
from dairy.scripts import run_file
from dairy.stages import alone_and_with_all
from support.databases import MIGRATIONS, ROOT, Database

FIRST, LAST = SEPTEMBER


@pytest.fixture(params=alone_and_with_all("dairy_007"))
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def books(database: Database) -> Invoicing:
    return Invoicing(database.connect(role="service_role", autocommit=True))


def open_log(books: Invoicing, operation: str | None = "a run", parameters: str = "{}") -> UUID:
    found = books.ask("public.log_bulk_operation(%s, %s::jsonb)", operation, parameters)["id"]
    assert isinstance(found, UUID)
    return found


def close(
    books: Invoicing, log: UUID, status: str | None = "completed", outcomes: str | None = None
) -> Answer:
    return books.ask(
        "public.update_bulk_operation_status(%s, %s, %s::jsonb)", log, status, outcomes
    )


def month(database: Database, customers: int = 3) -> tuple[Invoicing, list[UUID], Answer]:
    owner = Invoicing(database.connect(autocommit=True))
    households = [owner.household(deliveries=2) for _ in range(customers)]
    owner.sale(households[0], FIRST, 50)
    return owner, households, owner.bulk(customers=households)


def made(answer: Answer) -> list[UUID]:
    return [UUID(each["invoice_id"]) for each in answer["outcomes"]]


# the log


def test_the_log_of_a_run_that_was_refused_is_there(database: Database, books: Invoicing) -> None:
    owner, households, _ = month(database)
    log = open_log(books, "generate_bulk_invoices_atomic", '{"period": "2025-09"}')
    with refused("already_invoiced"):
        books.bulk(customers=households)
    answer = books.ask(
        "public.update_bulk_operation_status(p_id => %s, p_status => 'failed',"
        " p_error => 'already_invoiced')",
        log,
    )
    assert (answer["status"], answer["succeeded"], answer["failed"]) == ("failed", 0, 0)
    assert close(books, log, "failed") == answer  # said again, with less
    row = owner.ask("public.bulk_operation_logs where id = %s", log)
    assert row["error"] == "already_invoiced"
    assert row["parameters"] == {"period": "2025-09"}
    assert row["started_by"] == "service_role"
    assert row["finished_at"] is not None


def test_counts_follow_from_the_outcomes(database: Database, books: Invoicing) -> None:
    owner, households, _ = month(database)
    answer = books.bulk(customers=[*households, owner.household(deliveries=1)], validate=False)
    log = open_log(books)
    assert close(books, log, "running")["finished_at"] is None
    closed = close(books, log, "completed", json.dumps(answer["outcomes"], default=str))
    assert (closed["succeeded"], closed["failed"]) == (1, 3)
    assert close(books, log) == closed


def test_a_finished_log_stays_as_it_is(books: Invoicing) -> None:
    log = open_log(books)
    close(books, log, "completed", '[{"outcome": "invoiced"}]')
    for status, outcomes in (("failed", None), ("running", None), ("completed", "[]")):
        with refused("bulk_operation_finished", status=409):
            close(books, log, status, outcomes)


def test_refusals_of_the_log(books: Invoicing) -> None:
    for operation in (None, "", "  ", "x" * 101):
        with refused("operation_invalid", status=400):
            open_log(books, operation)
    for parameters in ("[]", "1", "null", json.dumps({"a": "x" * 5_000_000})):
        with refused("parameters_invalid", status=400):
            open_log(books, "a run", parameters)
    log = open_log(books)
    for status in (None, "", "done"):
        with refused("status_invalid", status=400):
            close(books, log, status)
    for outcomes in ("{}", "1", "null", "[1]", "[[]]"):
        with refused("outcomes_invalid", status=400):
            close(books, log, "completed", outcomes)
    with refused("bulk_operation_not_found", status=404):
        close(books, uuid4())


def test_nobody_writes_the_log_by_himself(database: Database, books: Invoicing) -> None:
    open_log(books)
    for role in ("authenticated", "service_role"):
        session = Invoicing(database.connect(role=role, autocommit=True))
        assert session.value("select count(*) from public.bulk_operation_logs") == 1
        for statement in (
            "update public.bulk_operation_logs set status = 'failed'",
            "delete from public.bulk_operation_logs",
            "insert into public.bulk_operation_logs default values",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.run(statement)


# deleting in bulk


def delete(books: Invoicing, invoices: list[UUID], *, validate: bool = True) -> Answer:
    return books.ask("public.delete_bulk_invoices_safe(%s::uuid[], %s)", invoices, validate)


def test_deleting_a_month_sets_it_free(database: Database, books: Invoicing) -> None:
    owner, households, answer = month(database)
    deleted = delete(books, made(answer))
    assert (deleted["invoices_deleted"], deleted["skipped"]) == (3, 0)
    assert deleted["reverted_sales_count"] == 1
    assert [each["outcome"] for each in deleted["outcomes"]] == ["deleted"] * 3
    assert owner.broken() == []
    assert owner.bulk(customers=households)["total_amount"] == answer["total_amount"]


def test_where_nothing_can_be_deleted_nothing_is(database: Database, books: Invoicing) -> None:
    owner, _, answer = month(database)
    (paid, *_) = made(answer)
    customer = owner.value("select customer_id from public.invoice_metadata where id = %s", paid)
    owner.allocate(owner.payment(customer, 10), {paid: 10})
    deleted = delete(books, [paid], validate=False)
    assert (deleted["success"], deleted["invoices_deleted"], deleted["skipped"]) == (True, 0, 1)
    assert deleted["reverted_sales_count"] == 0
    assert owner.broken() == []


def test_one_that_holds_money_refuses_the_run(database: Database, books: Invoicing) -> None:
    owner, households, answer = month(database)
    paid = made(answer)[1]
    customer = owner.value("select customer_id from public.invoice_metadata where id = %s", paid)
    owner.allocate(owner.payment(customer, 10), {paid: 10})
    with refused("invoice_holds_money", status=409) as facts:
        delete(books, made(answer))
    assert facts["invoice_ids"] == [str(paid)]
    assert (
        owner.value("select count(*) from public.invoice_metadata where deleted_at is not null")
        == 0
    )
    deleted = delete(books, made(answer), validate=False)
    assert (deleted["invoices_deleted"], deleted["skipped"]) == (2, 1)
    assert {UUID(each["invoice_id"]): each["outcome"] for each in deleted["outcomes"]}[
        paid
    ] == "holds_money"
    assert owner.broken() == []
    assert len(households) == 3


def test_what_is_deleted_already_is_skipped(database: Database, books: Invoicing) -> None:
    _, _, answer = month(database)
    delete(books, made(answer)[:1])
    again = delete(books, made(answer) + made(answer))
    assert (again["invoices_deleted"], again["skipped"]) == (2, 1)


def test_refusals_of_deleting(database: Database, books: Invoicing) -> None:
    _, _, answer = month(database)
    for invoices in ("{}", "{NULL}", None):
        with refused("invoice_ids_invalid", status=400):
            books.ask("public.delete_bulk_invoices_safe(%s::uuid[])", invoices)
    stranger = uuid4()
    with refused("invoice_not_found", status=404) as facts:
        delete(books, [*made(answer), stranger])
    assert facts["invoice_ids"] == [str(stranger)]
    books.setting(KEY, "delete them")
    first = delete(books, made(answer))
    assert delete(books, made(answer)[::-1]) == first
    with refused("idempotency_key_reused", status=409):
        delete(books, made(answer), validate=False)


def test_staff_may_not_delete_in_bulk(database: Database) -> None:
    staff = Invoicing(database.connect(role="authenticated", autocommit=True))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        delete(staff, [uuid4()])


# size, and the way back


@pytest.mark.long
def test_a_month_at_a_hundred_times_the_size(dairy_hardened: Database) -> None:
    """Everybody in one call, no number missing, each line's total to the paisa; and off again."""
    owner = Invoicing(dairy_hardened.connect(autocommit=True))
    owner.run(
        "insert into public.customers (billing_name, billing_cycle_day)"
        " select 'Household ' || number, 1 + mod(number, 31)"
        " from generate_series(1, 15400) as number"
    )
    owner.run(
        "insert into public.deliveries (customer_id, product_id, route_id, order_date,"
        " actual_quantity, unit_price, total_amount, delivery_status)"
        " select customer.id, (select id from public.products limit 1),"
        " (select id from public.routes limit 1), date '2026-06-01' + day, 1.5, 62, 93, 'delivered'"
        " from public.customers as customer cross join generate_series(0, 29) as day"
        " where customer.billing_cycle_day is not null and customer.route_id is null"
    )
    answer = owner.bulk((date(2026, 6, 1), date(2026, 6, 30)))
    assert (answer["invoices_created"], answer["skipped"]) == (15400, 0)
    assert answer["total_amount"] == 15400 * 30 * 93
    assert [int(number[6:]) for number in answer["invoice_numbers"]] == list(range(1, 15401))
    assert owner.bulk((date(2026, 6, 1), date(2026, 6, 30)))["invoices_created"] == 0
    assert owner.broken() == []
    assert delete(owner, made(answer))["invoices_deleted"] == 15400
    assert owner.broken() == []


KEPT = ("public.invoice_metadata", "public.invoice_line_items", "public.sales", "public.deliveries")


@pytest.mark.parametrize("gap", ["007", "010"])
def test_a_rollback_keeps_what_was_invoiced(gap: str, request: pytest.FixtureRequest) -> None:
    database: Database = request.getfixturevalue(f"dairy_{gap}")
    owner, _, answer = month(database)
    before = table_rows(owner.connection, KEPT)
    [migration] = MIGRATIONS.glob(f"*_gap_{gap}_*.sql")
    run_file(database.url, ROOT / "supabase" / "rollbacks" / migration.name)
    assert table_rows(owner.connection, KEPT) == before
    run_file(database.url, migration)
    assert table_rows(owner.connection, KEPT) == before
    assert owner.broken() == []
    more = owner.bulk(customers=[owner.household(deliveries=1)])
    assert int(more["invoice_numbers"][0]) == int(answer["invoice_numbers"][-1]) + 1


def test_counters_that_come_back_count_what_came_meanwhile(dairy_010: Database) -> None:
    """Given back as the archive had them; the app had gone on numbering."""
    owner, _, answer = month(dairy_010)
    year = answer["invoice_numbers"][0][:6]
    owner.value("select public.next_invoice_number('202122')")
    owner.run("alter table public.invoice_metadata disable trigger user")
    owner.app_invoice(owner.household(), FIRST, LAST, number=f"{year}00090")
    owner.run("update public.invoice_metadata set amount_outstanding = total_amount")
    owner.run("alter table public.invoice_metadata enable trigger user")
    assert {row[0] for row in owner.broken()} == {"invoice_numbers_counted"}
    [given_back] = (ROOT / "supabase" / "give_back").glob("*_gap_010_*.sql")
    run_file(dairy_010.url, given_back)
    assert owner.broken() == []
    assert owner.value("select public.next_invoice_number(%s)", year) == f"{year}00091"
    assert owner.value("select public.next_invoice_number('202122')") == "20212200002"
