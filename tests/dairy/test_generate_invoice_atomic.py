"""One invoice in one call, its number, and that no two live ones of a customer overlap."""

from datetime import date
from uuid import uuid4

import psycopg
import pytest

from dairy.books import INVARIANTS, refused, ruled_out, table_rows
from dairy.invoicing import KEY, OCTOBER, SEPTEMBER, Invoicing
from dairy.scripts import run_file
from dairy.stages import alone_and_with_all
from support.databases import MIGRATIONS, Database

FIRST, LAST = SEPTEMBER
MIDDLE = date(2025, 9, 15)


@pytest.fixture(params=alone_and_with_all("dairy_010"))
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def books(database: Database) -> Invoicing:
    return Invoicing(database.connect(autocommit=True))


def test_one_record_with_what_the_invoice_says(books: Invoicing) -> None:
    customer = books.household(billing_day=12, deliveries=3)
    books.sale(customer, LAST, 105, gst=5)
    answer = books.single(customer)
    invoice = books.invoice_row(answer["invoice_id"])
    assert answer.pop("success") is True
    assert answer.pop("line_items") == 4
    assert answer.pop("invoice_id") == invoice["id"]
    assert answer == {column: invoice[column] for column in answer}
    assert answer["total_amount"] == 384
    assert answer["manual_sales_amount"] == 105
    assert answer["gst_amount"] == 5
    assert answer["due_date"] == date(2025, 10, 12)
    assert books.broken() == []


def test_an_invoice_of_deliveries_or_of_sales_alone_says_0_of_the_other(books: Invoicing) -> None:
    of_deliveries, of_sales = books.household(deliveries=1), books.household(deliveries=0)
    books.sale(of_sales, LAST, 105, gst=5)
    parts = "subscription_amount", "manual_sales_amount", "gst_amount", "total_amount"
    rows = [
        books.invoice_row(books.single(each)["invoice_id"]) for each in (of_deliveries, of_sales)
    ]
    total = rows[0]["total_amount"]
    assert [tuple(row[part] for part in parts) for row in rows] == [
        (total, 0, 0, total),
        (0, 105, 5, 105),
    ]


def test_alone_or_in_bulk_it_is_the_same_invoice(books: Invoicing) -> None:
    one, two = (books.household(billing_day=12, deliveries=3) for _ in range(2))
    for customer in (one, two):
        books.sale(customer, LAST, 105, gst=5)
    alone = books.invoice_row(books.single(one)["invoice_id"])
    in_bulk = books.invoice_row(books.bulk(customers=[two])["outcomes"][0]["invoice_id"])
    different = {column for column in alone if alone[column] != in_bulk[column]}
    assert different == {"id", "invoice_number", "customer_id", "created_at", "updated_at"}


def test_refusals(books: Invoicing) -> None:
    customer = books.household(deliveries=1)
    with refused("customer_required", status=400):
        books.single(None)
    with refused("period_required", status=400):
        books.single(customer, (FIRST, None))
    with refused("period_invalid", status=400):
        books.single(customer, (LAST, FIRST))
    with refused("customer_not_found", status=404):
        books.single(uuid4())
    with refused("nothing_to_bill", status=422):
        books.single(customer, OCTOBER)
    number = books.single(customer)["invoice_number"]
    with refused("already_invoiced", status=409) as facts:
        books.single(customer, (LAST, OCTOBER[1]))
    assert facts["invoice_number"] == number


def test_what_does_not_add_up_is_refused(books: Invoicing) -> None:
    customer = books.household()
    delivery = books.delivery(customer, FIRST, total=92)
    with refused("delivery_invalid", status=422) as facts:
        books.single(customer)
    assert facts["delivery_id"] == str(delivery)
    shop = books.household()
    sale = books.sale(shop, FIRST, 10, gst=11)
    with refused("sale_invalid", status=422) as facts:
        books.single(shop)
    assert facts["sale_id"] == str(sale)
    rich = books.household()
    for _ in range(2):
        books.delivery(rich, FIRST, quantity=1, price="9999999999")
    with refused("total_too_large", status=422):
        books.single(rich)
    assert books.value("select count(*) from public.invoice_counters") == 0


def test_a_key_gives_the_first_answer_again(books: Invoicing) -> None:
    customer = books.household(deliveries=1)
    books.setting(KEY, "one")
    first = books.single(customer)
    assert books.single(customer) == first
    with refused("idempotency_key_reused", status=409):
        books.single(customer, OCTOBER)


# numbers


@pytest.mark.parametrize(
    ("day", "year"),
    [
        (date(2025, 3, 31), "202425"),
        (date(2025, 4, 1), "202526"),
        (date(2025, 12, 31), "202526"),
        (date(2026, 1, 1), "202526"),
        (date(2026, 3, 31), "202526"),
        (date(2026, 4, 1), "202627"),
        (date(1999, 12, 31), "199900"),
        (date(2099, 4, 1), "209900"),
    ],
)
def test_a_financial_year_begins_in_april(books: Invoicing, day: date, year: str) -> None:
    assert books.value("select private.financial_year(%s)", day) == year


@pytest.mark.parametrize(
    ("moment", "day", "number"),
    [
        ("2026-03-31 18:29:59+00", date(2026, 3, 31), "20252600001"),
        ("2026-03-31 18:30:00+00", date(2026, 4, 1), "20262700001"),
    ],
)
def test_the_year_changes_at_midnight_in_kolkata(
    books: Invoicing, moment: str, day: date, number: str
) -> None:
    """The server runs in UTC, five and a half hours behind."""
    source = books.value("select pg_get_functiondef('public.business_today()'::regprocedure)")
    books.connection.execute(source.replace("now()", f"timestamptz '{moment}'").encode())
    customer = books.household(deliveries=1)
    answer = books.single(customer)
    assert (answer["invoice_date"], answer["invoice_number"]) == (day, number)


def test_numbers_go_on_from_the_highest_that_is_there(dairy_007: Database) -> None:
    books = Invoicing(dairy_007.connect(autocommit=True))
    year = books.value("select private.financial_year(public.business_today())")
    customer = books.household(deliveries=2)
    books.app_invoice(books.household(), FIRST, LAST, number=f"{year}00041")
    assert books.bulk((FIRST, FIRST), [customer])["invoice_numbers"] == [f"{year}00042"]


def test_each_caller_gets_a_number_of_his_own(books: Invoicing) -> None:
    assert books.value("select public.next_invoice_number('202526')") == "20252600001"
    assert books.value("select public.get_next_invoice_sequence('202526')") == 2
    assert books.value("select public.next_invoice_number('202526')") == "20252600003"
    assert books.value("select public.next_invoice_number('202627')") == "20262700001"


def test_a_failed_transaction_leaves_no_hole(database: Database, books: Invoicing) -> None:
    session = Invoicing(database.connect())
    customer = session.household(deliveries=1)
    session.connection.commit()
    first = session.single(customer)["invoice_number"]
    session.connection.rollback()
    assert books.single(customer)["invoice_number"] == first


@pytest.mark.parametrize(
    "year",
    [
        "",
        "2025",
        "2025-26",
        "202527",
        "20252600001",
        "\uff12\uff10\uff12\uff15\uff12\uff16",
        "20252x",
        "202526\n",
        None,
    ],
)
def test_what_is_no_financial_year(books: Invoicing, year: str | None) -> None:
    for function in ("next_invoice_number", "get_next_invoice_sequence"):
        with refused("financial_year_invalid", status=400):
            books.value(f"select public.{function}(%s)", year)


def test_a_century_has_a_year_too(books: Invoicing) -> None:
    assert books.value("select public.next_invoice_number('209900')") == "20990000001"


def test_the_last_number_of_a_year(books: Invoicing) -> None:
    books.app_invoice(books.household(), FIRST, LAST, number="20252699998")
    assert books.value("select public.next_invoice_number('202526')") == "20252699999"
    with refused("invoice_numbers_exhausted", status=409):
        books.value("select public.next_invoice_number('202526')")


def test_the_apps_own_number_moves_the_counter(books: Invoicing) -> None:
    year = books.value("select private.financial_year(public.business_today())")
    household = books.household(deliveries=1)
    number = books.value("select public.get_next_invoice_sequence(%s)", year)
    books.app_invoice(books.household(), FIRST, LAST, number=f"{year}{number:05}")
    books.app_invoice(books.household(), FIRST, LAST, number=f"{year}00700")
    other = books.app_invoice(books.household(), FIRST, LAST)
    books.run(
        "update public.invoice_metadata set invoice_number = %s where id = %s",
        f"{year}00800",
        other,
    )
    assert books.single(household)["invoice_number"] == f"{year}00801"
    assert books.broken() == []


@pytest.mark.parametrize(
    "number", ["INV-1", "", "20252600000", "20252700005", "202526000001", None, "99999999999"]
)
def test_other_numbers_are_the_apps_affair(books: Invoicing, number: str | None) -> None:
    books.app_invoice(books.household(), FIRST, LAST, number=number)
    assert books.value("select public.next_invoice_number('202526')") == "20252600001"
    assert books.broken() == []


def test_a_number_is_never_given_twice_after_a_deletion(books: Invoicing) -> None:
    customer = books.household(deliveries=1)
    first = books.single(customer)
    books.ask("public.delete_invoice_safe(%s, true)", first["invoice_id"])
    assert books.single(customer)["invoice_number"] > first["invoice_number"]


def test_nobody_but_the_database_writes_counters(database: Database, books: Invoicing) -> None:
    books.value("select public.next_invoice_number('202526')")
    for role in ("authenticated", "service_role"):
        session = Invoicing(database.connect(role=role, autocommit=True))
        assert session.value("select count(*) from public.invoice_counters") == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.run("update public.invoice_counters set last_number = 0")


# no two live invoices of a customer overlap


@pytest.mark.parametrize(
    ("start", "end"),
    [(FIRST, LAST), (MIDDLE, MIDDLE), (LAST, OCTOBER[1]), (date(2025, 8, 1), FIRST)],
)
@pytest.mark.parametrize("status", ["sent", "draft"])
def test_a_direct_insert_cannot_overlap(
    books: Invoicing, start: date, end: date, status: str
) -> None:
    customer = books.household(deliveries=1)
    books.app_invoice(customer, FIRST, LAST, status=status)
    with ruled_out("invoice_metadata_no_overlap"):
        books.app_invoice(customer, start, end)
    books.app_invoice(customer, start, end, status="cancelled")
    books.app_invoice(books.household(), start, end)


def test_nor_can_one_statement_with_itself(books: Invoicing) -> None:
    customer = books.household()
    with ruled_out("invoice_metadata_no_overlap"):
        books.run(
            "insert into public.invoice_metadata (customer_id, invoice_date, period_start,"
            " period_end, total_amount) select %s, %s, %s, %s, 1 from generate_series(1, 2)",
            customer,
            LAST,
            FIRST,
            LAST,
        )


@pytest.mark.parametrize(
    "change",
    [
        "invoice_status = 'sent'",
        "period_end = '2025-10-01'",
        "period_start = '2025-09-30'",
        "customer_id = (select customer_id from public.invoice_metadata where total_amount = 7)",
    ],
)
def test_nor_can_an_update(books: Invoicing, change: str) -> None:
    customer = books.household()
    books.app_invoice(customer, *OCTOBER)
    if "customer" in change:
        books.run("update public.invoice_metadata set total_amount = 7")
        subject = books.app_invoice(books.household(), OCTOBER[0], OCTOBER[0])
    elif "status" in change:
        subject = books.app_invoice(customer, OCTOBER[0], OCTOBER[0], status="cancelled")
    elif "start" in change:
        subject = books.app_invoice(customer, date(2025, 11, 1), date(2025, 11, 30))
        change = "period_start = '2025-10-31'"
    else:
        subject = books.app_invoice(customer, FIRST, LAST)
    with ruled_out("invoice_metadata_no_overlap"):
        books.run(f"update public.invoice_metadata set {change} where id = %s", subject)


def test_a_deleted_invoice_stays_deleted_when_its_days_are_taken(books: Invoicing) -> None:
    customer = books.household(deliveries=1)
    first = books.single(customer)["invoice_id"]
    books.ask("public.delete_invoice_safe(%s)", first)
    books.app_invoice(customer, LAST, LAST)
    with pytest.raises(psycopg.DatabaseError):
        books.ask("public.recover_invoice(%s)", first)
    assert books.broken() == []


def test_a_reversed_period_hides_no_overlap(books: Invoicing) -> None:
    customer = books.household()
    with ruled_out("invoice_metadata_period_valid"):
        books.app_invoice(customer, LAST, FIRST)
    invoice = books.app_invoice(customer, FIRST, LAST)
    with ruled_out("invoice_metadata_period_valid"):
        books.run(
            "update public.invoice_metadata set period_end = '2025-08-01' where id = %s", invoice
        )


@pytest.mark.parametrize("forever", ["-infinity", "infinity"])
def test_a_period_has_two_days(books: Invoicing, forever: str) -> None:
    """One that never ends would leave its customer without another invoice."""
    customer = books.household()
    insert = (
        "insert into public.invoice_metadata (customer_id, invoice_date, period_start, period_end,"
        " total_amount) values (%s, '2025-09-01', %s, %s, 1)"
    )
    invoice = books.app_invoice(customer, FIRST, LAST)
    for first, last in (("2025-10-01", forever), (forever, "2025-07-01"), (forever, forever)):
        with ruled_out("invoice_metadata_period_valid"):
            books.run(insert, customer, first, last)
        with ruled_out("invoice_metadata_period_valid"):
            books.run(
                "update public.invoice_metadata set period_start = %s, period_end = %s"
                " where id = %s",
                first,
                last,
                invoice,
            )
    assert books.broken() == []


def test_an_older_snapshot_may_not_write_invoices(database: Database, books: Invoicing) -> None:
    """It could not see what it overlaps."""
    customer = books.household()
    session = Invoicing(database.connect())
    session.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    assert session.value("select 1") == 1
    books.app_invoice(customer, FIRST, LAST)
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        session.app_invoice(customer, FIRST, LAST)


def test_old_pairs_that_overlap_stay_are_listed_and_can_be_touched(books: Invoicing) -> None:
    customer = books.household()
    books.run("alter table public.invoice_metadata disable trigger user")
    one, two = (books.app_invoice(customer, FIRST, LAST) for _ in range(2))
    books.run("update public.invoice_metadata set amount_outstanding = total_amount")
    books.run("alter table public.invoice_metadata enable trigger user")
    assert [row[0] for row in books.broken()] == ["live_invoices_apart"]
    assert books.violations() == {"live_invoices_apart"}
    books.run("update public.invoice_metadata set file_path = '/a', due_date = '2999-01-01'")
    payment = books.payment(customer, 100)
    books.allocate(payment, {one: 100})
    books.run("update public.invoice_metadata set invoice_status = 'cancelled' where id = %s", two)
    assert books.broken() == []
    with ruled_out("invoice_metadata_no_overlap"):
        books.run("update public.invoice_metadata set invoice_status = 'sent' where id = %s", two)


# Days of a customer's invoices in September; how often two of them share one.
SHARED_DAYS = {
    "the same one day": ([(1, 1), (1, 1)], 1),
    "the day on which the other ends": ([(1, 5), (5, 9)], 1),
    "a long one, and a short one before the next": ([(1, 30), (2, 3), (10, 12)], 2),
    "a short one, then two that meet": ([(1, 1), (2, 9), (9, 30)], 1),
    "one after the other": ([(1, 5), (6, 9), (10, 30)], 0),
}


@pytest.mark.parametrize("what", SHARED_DAYS)
def test_each_two_that_share_a_day_are_listed(books: Invoicing, what: str) -> None:
    days, pairs = SHARED_DAYS[what]
    customer = books.household()
    books.run("alter table public.invoice_metadata disable trigger user")
    for first, last in days:
        books.app_invoice(customer, FIRST.replace(day=first), FIRST.replace(day=last))
    listed = [row for row in books.broken() if row[0] == "live_invoices_apart"]
    assert len(listed) == pairs
    outside = next(path for path in INVARIANTS if path.stem == "live_invoices_apart")
    seen = books.connection.execute(outside.read_bytes()).fetchall()
    assert sorted(row[1:] for row in listed) == sorted(seen)


def test_it_is_deployed_beside_invoices_that_overlap(dairy_009: Database) -> None:
    books = Invoicing(dairy_009.connect(autocommit=True))
    customer = books.household(deliveries=2)
    pair = [
        books.app_invoice(customer, FIRST, LAST, number=number)
        for number in ("20252600007", "20252600003")
    ]
    before = table_rows(books.connection, ["public.invoice_metadata"])
    run_file(dairy_009.url, next(MIGRATIONS.glob("*_gap_010_*.sql")))
    assert table_rows(books.connection, ["public.invoice_metadata"]) == before
    assert [row[0] for row in books.broken()] == ["live_invoices_apart"]
    assert books.value("select public.next_invoice_number('202526')") == "20252600008"
    with refused("already_invoiced", status=409):
        books.single(customer)
    books.run("update public.invoice_metadata set period_end = '2025-09-29' where id = %s", pair[0])
    books.run(
        "update public.invoice_metadata set period_start = '2025-09-30' where id = %s", pair[1]
    )
    assert books.broken() == []


def test_the_app_invoices_as_it_always_did(database: Database, books: Invoicing) -> None:
    """Its own series of calls, each a transaction, as its own role."""
    customer = books.household(deliveries=1)
    sale = books.sale(customer, FIRST, 50)
    app = Invoicing(database.connect(role="authenticated", autocommit=True))
    number = app.value("select public.get_next_invoice_sequence(year_code => '202526')")
    invoice = app.app_invoice(
        customer, FIRST, LAST, number=f"202526{number:05}", status="draft", total=143
    )
    app.run(
        "insert into public.invoice_line_items (invoice_id, line_item_type, delivery_id,"
        " line_total) select %s, 'subscription', id, total_amount from public.deliveries"
        " where customer_id = %s",
        invoice,
        customer,
    )
    app.run(
        "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id, line_total)"
        " values (%s, 'manual_sale', %s, 50)",
        invoice,
        sale,
    )
    app.run("update public.sales set payment_status = 'Billed' where id = %s", sale)
    app.run("update public.invoice_metadata set invoice_status = 'sent' where id = %s", invoice)
    assert books.preview(OCTOBER, [customer])[customer]["outcome"] == "nothing_to_bill"
    assert books.broken() == []


def test_a_number_above_its_counter_is_listed(books: Invoicing) -> None:
    books.app_invoice(books.household(), FIRST, LAST, number="20252600009")
    books.run("update public.invoice_counters set last_number = 8")
    assert [row[0] for row in books.broken()] == ["invoice_numbers_counted"]
    assert books.violations() == {"invoice_numbers_counted"}


@pytest.mark.parametrize(
    ("end", "billing_day", "due"),
    [
        ("2025-08-31", None, "2025-09-01"),
        ("2025-08-31", 1, "2025-09-01"),
        ("2025-08-31", 31, "2025-09-30"),
        ("2025-08-15", None, "2025-09-01"),
        ("2025-08-15", 15, "2025-09-15"),
        ("2025-08-15", 16, "2025-08-16"),
        ("2025-02-15", 31, "2025-02-28"),
        ("2025-02-28", 31, "2025-03-31"),
        ("2024-02-15", 31, "2024-02-29"),
        ("2025-12-31", 10, "2026-01-10"),
    ],
)
def test_due_is_the_first_billing_day_after_the_period_within_its_month(
    books: Invoicing, end: str, billing_day: int | None, due: str
) -> None:
    found = books.value("select private.due_date(%s, %s)", end, billing_day)
    assert found == date.fromisoformat(due)
