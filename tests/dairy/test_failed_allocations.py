"""What a report of a failed call keeps, for how long, and who may make and read one."""

import json
from uuid import uuid4

import psycopg
import pytest

from dairy.books import Books
from support.databases import ROOT, Database

VERIFY = ROOT / "supabase" / "verify" / "20250928000000_failed_allocations.sql"
REPORT = "select public.report_failed_allocation(%s, %s, %s, %s, %s)"
ID = str(uuid4())


@pytest.fixture
def clerk(dairy_hardened: Database) -> Books:
    return Books(dairy_hardened.connect(role="authenticated", autocommit=True))


@pytest.fixture
def owner(dairy_hardened: Database) -> Books:
    return Books(dairy_hardened.connect(autocommit=True))


def report(books: Books, reason: str = "r", detail: object = None) -> None:
    books.connection.execute(REPORT, ["f", reason, ID, "key", json.dumps(detail or {})])


def age(owner: Books, days: int) -> None:
    """Make what is there older."""
    owner.run(
        "update public.failed_allocations set reported_at = now() - %s * interval '1 d'", days
    )


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"requested": 900.5, "paid": False, "available": "800.00", "a1": "-3"}, ...),
        ({"invoice_id": ID, "period_start": "2025-09-01", "sqlstate": "23514"}, ...),
        ({"given": "Ramesh", "given_2": "98200 12345", "p_reason": "+919820012345"}, {}),
        ({"Ramesh Patil": 1, "": 2, "x" * 64: 3}, {}),
        ({"list": [1], "object": {"a": 1}, "nothing": None}, {}),
        ({"at": "2025-09-16T10:00:00Z", "long": "1" * 13, "lines": "1\n2"}, {}),
        ({f"n{number}": "123456789012" for number in range(400)}, {}),
    ],
    ids=["numbers", "ids and days", "what is typed", "names of facts", "nested", "others", "much"],
)
def test_of_the_facts_numbers_ids_and_days_are_kept(
    clerk: Books, said: dict[str, object], kept: object
) -> None:
    report(clerk, detail=said)
    found = clerk.value("select detail from public.failed_allocations")
    assert found == (said if kept is ... else kept)


def test_after_90_days_a_row_says_when_what_and_why(clerk: Books, owner: Books) -> None:
    report(clerk, "first", {"a": 1})
    age(owner, 89)
    report(clerk, "second")
    whole = owner.rows("select reason from public.failed_allocations where reported_by is not null")
    assert whole == [("first",), ("second",)]

    owner.run(
        "update public.failed_allocations set reported_at = now() - interval '90 days'"
        " where reason = 'first'"
    )
    report(clerk, "third")
    emptied = owner.rows(
        "select function_name, reason, payment_id, idempotency_key, detail, reported_by,"
        " reported_at < now() - interval '89 days'"
        " from public.failed_allocations where reported_by is null"
    )
    assert emptied == [("f", "first", None, None, {}, None, True)]


def test_with_each_report_twenty_are_emptied_the_oldest_first(clerk: Books, owner: Books) -> None:
    for _ in range(22):
        report(clerk)
    owner.run("update public.failed_allocations set reported_at = now() - id * interval '100 d'")
    report(clerk)
    left = "select id from public.failed_allocations where reported_by is not null order by id"
    assert owner.rows(left) == [(1,), (2,), (23,)]
    report(clerk)
    assert owner.rows(left) == [(23,), (24,)]


def test_what_somebody_holds_is_left_for_the_next_report(
    dairy_hardened: Database, clerk: Books, owner: Books
) -> None:
    report(clerk)
    age(owner, 100)
    holder = dairy_hardened.connect()
    holder.execute("select from public.failed_allocations for update")
    clerk.run("set lock_timeout = '2s'")
    report(clerk)
    assert owner.value("select count(*) from public.failed_allocations") == 2
    assert owner.value("select count(reported_by) from public.failed_allocations") == 2
    holder.rollback()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ([None, "r", None, None, "{}"], "p_function"),
        (["", "r", None, None, "{}"], "p_function"),
        (["pay; drop", "r", None, None, "{}"], "p_function"),
        (["f" * 101, "r", None, None, "{}"], "p_function"),
        (["f", None, None, None, "{}"], "p_reason"),
        (["f", "Ramesh did not pay", None, None, "{}"], "p_reason"),
        (["f", "r\n", None, None, "{}"], "p_reason"),
        (["f", "r" * 101, None, None, "{}"], "p_reason"),
        (["f", "r", None, " ", "{}"], "p_key"),
        (["f", "r", None, "k" * 201, "{}"], "p_key"),
        (["f", "r", None, None, "[]"], "p_detail"),
        (["f", "r", None, None, "null"], "p_detail"),
    ],
)
def test_what_is_no_report_is_refused(clerk: Books, arguments: list[object], field: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        clerk.connection.execute(REPORT, arguments)
    assert (refused.value.sqlstate, refused.value.diag.message_primary) == (
        "PT400",
        "report_invalid",
    )
    assert json.loads(refused.value.diag.message_detail or "") == {"field": field}
    assert clerk.value("select count(*) from public.failed_allocations") == 0


def test_facts_may_be_left_out(clerk: Books) -> None:
    clerk.connection.execute(REPORT, ["f" * 100, "r" * 100, None, "k" * 200, None])
    assert clerk.value("select detail from public.failed_allocations") == {}


def test_a_report_waits_for_no_payment(
    dairy_hardened: Database, clerk: Books, owner: Books
) -> None:
    payment = owner.value(
        "insert into public.payments (amount, payment_date) values (5, current_date) returning id"
    )
    holder = dairy_hardened.connect()
    holder.execute("select from public.payments where id = %s for update", [payment])
    clerk.run("set lock_timeout = '1s'")
    clerk.connection.execute(REPORT, ["f", "r", payment, None, "{}"])
    holder.rollback()


def test_strangers_neither_report_nor_read(dairy_hardened: Database) -> None:
    anybody = Books(dairy_hardened.connect(role="anon"))
    for statement in (
        "select public.report_failed_allocation('f', 'r')",
        "select from public.failed_allocations",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            anybody.run(statement)
        anybody.connection.rollback()


def test_nobody_changes_a_report(clerk: Books, dairy_hardened: Database) -> None:
    report(clerk)
    office = Books(dairy_hardened.connect(role="service_role", autocommit=True))
    for books in (clerk, office):
        for statement in (
            "delete from public.failed_allocations",
            "update public.failed_allocations set reported_by = 'somebody else'",
            "insert into public.failed_allocations (function_name, reason) values ('f', 'r')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                books.run(statement)


@pytest.mark.parametrize(
    ("sabotage", "named"),
    [
        ("grant insert on public.failed_allocations to authenticated", "writes"),
        ("grant update (reason) on public.failed_allocations to service_role", "writes"),
        ("grant usage on sequence public.failed_allocations_id_seq to anon", "writes"),
        ("grant select on public.failed_allocations to anon", "anon can read"),
        ("revoke select on public.failed_allocations from authenticated", "cannot read"),
        ("grant execute on function {} to anon", "anon can report"),
        ("revoke execute on function {} from service_role", "service_role cannot report"),
        ("alter function {} security invoker", "permission denied"),
        ("alter table public.failed_allocations disable row level security", "row level"),
        ('drop policy "Staff read" on public.failed_allocations', "the report of"),
        ("create function public.report_failed_allocation(x int) returns int return x", "overload"),
    ],
)
def test_the_verification_sings(dairy_hardened: Database, sabotage: str, named: str) -> None:
    owner = dairy_hardened.connect()
    function = "public.report_failed_allocation(text, text, uuid, text, jsonb)"
    owner.execute(sabotage.format(function).encode())
    with pytest.raises(psycopg.Error) as caught:
        owner.execute(VERIFY.read_bytes())
    assert named in str(caught.value)
