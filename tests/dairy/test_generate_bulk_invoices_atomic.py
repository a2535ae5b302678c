"""A month in one call: what an invoice bills, what becomes of each customer, all or nothing."""

from datetime import date, timedelta
from decimal import Decimal
from uuid import uuid4

import psycopg
import pytest

from dairy.books import refused
from dairy.invoicing import KEY, OCTOBER, SEPTEMBER, Invoicing, outcomes
from dairy.stages import alone_and_with_all
from support.databases import Database

FIRST, LAST = SEPTEMBER


@pytest.fixture(params=alone_and_with_all("dairy_007"))
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def books(database: Database) -> Invoicing:
    return Invoicing(database.connect(autocommit=True))


def test_an_invoice_bills_deliveries_and_credit_sales_of_its_period(books: Invoicing) -> None:
    customer = books.household(billing_day=5)
    first = books.delivery(customer, FIRST, quantity="1.5", price=62)
    last = books.delivery(customer, LAST, quantity="0.5", price="66.66", total="33.33")
    sale = books.sale(customer, date(2025, 9, 10), 525, gst=25)
    for outside in (FIRST - timedelta(days=1), LAST + timedelta(days=1)):
        books.delivery(customer, outside)
        books.sale(customer, outside, 10)
    books.delivery(customer, FIRST, status="pending")
    books.delivery(customer, FIRST, status="cancelled", total=0)

    answer = books.bulk(customers=[customer])

    assert answer["success"] is True
    assert (answer["invoices_created"], answer["skipped"]) == (1, 0)
    assert answer["total_amount"] == Decimal("651.33")
    [made] = answer["outcomes"]
    assert made["outcome"] == "invoiced"
    assert made["reason"] is None
    assert answer["invoice_numbers"] == [made["invoice_number"]]
    invoice = books.invoice_row(made["invoice_id"])
    assert invoice["total_amount"] == invoice["amount_outstanding"] == Decimal("651.33")
    assert invoice["subscription_amount"] == Decimal("126.33")
    assert invoice["manual_sales_amount"] == 525
    assert invoice["gst_amount"] == 25
    assert (invoice["period_start"], invoice["period_end"]) == SEPTEMBER
    assert invoice["due_date"] == date(2025, 10, 5)
    assert invoice["invoice_date"] == books.value("select public.business_today()")
    assert books.billed(invoice["id"]) == [
        ("subscription", last, Decimal("33.33"), 0),
        ("subscription", first, 93, 0),
        ("manual_sale", sale, 525, 25),
    ]
    assert books.value("select payment_status from public.sales where id = %s", sale) == "Billed"
    assert books.broken() == []


def test_lines_tell_what_was_delivered(books: Invoicing) -> None:
    customer = books.household(deliveries=1)
    order = books.value(
        "insert into public.daily_orders (customer_id, product_id, order_date, planned_quantity,"
        " unit_price, total_amount) select customer_id, product_id, order_date, 1, 62, 62"
        " from public.deliveries where customer_id = %s returning id",
        customer,
    )
    books.run(
        "update public.deliveries set daily_order_id = %s where customer_id = %s", order, customer
    )
    invoice = books.bulk(customers=[customer])["outcomes"][0]["invoice_id"]
    assert books.rows(
        "select line.order_id, line.quantity, line.unit_price, line.gst_rate,"
        " line.product_name = product.name, line.product_id = product.id, line.bills"
        " from public.invoice_line_items as line"
        " join public.deliveries as delivery on delivery.id = line.delivery_id"
        " join public.products as product on product.id = delivery.product_id"
        " where line.invoice_id = %s",
        invoice,
    ) == [(order, Decimal("1.5"), 62, 0, True, True, True)]


def test_each_is_billed_once_in_its_life(books: Invoicing) -> None:
    customer = books.household(deliveries=3)
    books.sale(customer, FIRST, 50)
    assert books.bulk(customers=[customer])["total_amount"] == 329
    books.delivery(customer, OCTOBER[0])
    assert books.bulk(OCTOBER, [customer])["total_amount"] == 93
    assert (
        books.value(
            "select count(*) - count(distinct delivery_id) - count(distinct sale_id)"
            " from public.invoice_line_items"
        )
        == 0
    )


def test_late_ones_go_onto_the_next_invoice(books: Invoicing) -> None:
    """Their own period's invoice is made already."""
    customer = books.household(deliveries=2)
    waiting = books.delivery(customer, date(2025, 9, 20), status="pending")
    books.bulk(customers=[customer])
    books.run("update public.deliveries set delivery_status = 'delivered' where id = %s", waiting)
    sale = books.sale(customer, LAST, 40)
    october = books.delivery(customer, OCTOBER[0])

    answer = books.bulk(OCTOBER, [customer])

    lines = books.billed(answer["outcomes"][0]["invoice_id"])
    assert {line[1] for line in lines} == {waiting, sale, october}
    assert answer["total_amount"] == 226


def test_a_month_that_was_never_invoiced_waits_for_its_own_invoice(books: Invoicing) -> None:
    customer = books.household(deliveries=2)
    books.delivery(customer, OCTOBER[0])
    assert books.bulk(OCTOBER, [customer])["total_amount"] == 93
    assert books.bulk(SEPTEMBER, [customer])["total_amount"] == 186


def test_an_invoice_that_names_no_deliveries_is_taken_to_have_billed_its_days(
    books: Invoicing,
) -> None:
    """The app may have written one with a sum alone: better late than twice."""
    customer = books.household(deliveries=2)
    books.app_invoice(customer, FIRST, LAST)
    books.delivery(customer, OCTOBER[0])
    assert books.bulk(OCTOBER, [customer])["total_amount"] == 93


def test_an_invoice_of_nothing_billed_nothing(books: Invoicing) -> None:
    """Its lines add up to its total, so what came late is not taken to be on it."""
    customer = books.household(deliveries=2)
    empty = books.app_invoice(customer, FIRST, LAST)
    books.run("update public.invoice_metadata set total_amount = 0 where id = %s", empty)
    books.delivery(customer, OCTOBER[0])
    assert books.bulk(OCTOBER, [customer])["total_amount"] == 279


@pytest.mark.parametrize(("kind", "total"), [("adjustment", 279), ("subscription", 93)])
def test_a_line_that_names_no_delivery_may_have_billed_any_unless_it_is_an_adjustment(
    books: Invoicing, kind: str, total: int
) -> None:
    customer = books.household(deliveries=2)
    invoice = books.app_invoice(customer, FIRST, LAST, status="draft")
    books.run(
        "insert into public.invoice_line_items (invoice_id, line_item_type, line_total)"
        " values (%s, %s, 100)",
        invoice,
        kind,
    )
    books.run("update public.invoice_metadata set invoice_status = 'sent' where id = %s", invoice)
    books.delivery(customer, OCTOBER[0])
    assert books.bulk(OCTOBER, [customer])["total_amount"] == total


@pytest.mark.parametrize("ending", ["cancelled", "deleted"])
def test_what_a_cancelled_or_deleted_invoice_billed_is_free_again(
    books: Invoicing, ending: str
) -> None:
    customer = books.household(deliveries=2)
    books.sale(customer, FIRST, 50)
    first = books.bulk(customers=[customer])["outcomes"][0]["invoice_id"]
    if ending == "cancelled":
        books.run(
            "update public.invoice_metadata set invoice_status = 'cancelled' where id = %s", first
        )
    else:
        books.ask("public.delete_invoice_safe(%s)", first)
    again = books.bulk(customers=[customer])
    assert again["total_amount"] == 236
    assert again["outcomes"][0]["invoice_id"] != first
    assert books.broken() == []


@pytest.mark.parametrize(
    ("billing_day", "end", "due"),
    [
        (None, date(2025, 9, 30), date(2025, 10, 1)),
        (1, date(2025, 9, 30), date(2025, 10, 1)),
        (31, date(2025, 9, 30), date(2025, 10, 31)),
        (31, date(2025, 9, 29), date(2025, 9, 30)),
        (31, date(2026, 1, 31), date(2026, 2, 28)),
        (30, date(2024, 1, 31), date(2024, 2, 29)),
        (15, date(2025, 9, 14), date(2025, 9, 15)),
        (15, date(2025, 9, 15), date(2025, 10, 15)),
        (10, date(2025, 12, 31), date(2026, 1, 10)),
    ],
)
def test_due_on_the_first_billing_day_after_the_period(
    books: Invoicing, billing_day: int | None, end: date, due: date
) -> None:
    customer = books.household(billing_day=billing_day)
    books.delivery(customer, end)
    invoice = books.bulk((end, end), [customer])["outcomes"][0]["invoice_id"]
    assert books.invoice_row(invoice)["due_date"] == due


@pytest.mark.parametrize(
    ("period", "status"),
    [(SEPTEMBER, "overdue"), ((date(2995, 9, 1), date(2995, 9, 30)), "sent")],
)
def test_it_is_issued(books: Invoicing, period: tuple[date, date], status: str) -> None:
    """As sent; one that is due before today says so when it is looked at."""
    customer = books.household(deliveries=1, start=period[0])
    invoice = books.bulk(period, [customer])["outcomes"][0]["invoice_id"]
    row = books.invoice_row(invoice)
    assert (row["invoice_status"], row["status"]) == ("sent", "Sent")
    books.run("select public.update_invoice_status(%s)", invoice)
    assert books.invoice_row(invoice)["invoice_status"] == status


def test_totals_are_sums_of_lines_to_the_paisa(books: Invoicing) -> None:
    customer = books.household()
    for number in range(30):
        books.delivery(
            customer,
            FIRST + timedelta(days=number),
            quantity="0.333",
            price="33.33",
            total="11.10",
        )
    books.sale(customer, FIRST, "0.01", gst="0.0049")
    books.sale(customer, FIRST, "99.99", gst="4.761428571")
    invoice = books.invoice_row(books.bulk(customers=[customer])["outcomes"][0]["invoice_id"])
    assert invoice["total_amount"] == Decimal("433.00")
    assert invoice["subscription_amount"] + invoice["manual_sales_amount"] == Decimal("433.00")
    # the GST inside of a sale is the one figure that is rounded, once, on its line
    assert invoice["gst_amount"] == Decimal("4.76")
    assert books.rows(
        "select sum(line_total), sum(gst_amount) from public.invoice_line_items"
        " where invoice_id = %s",
        invoice["id"],
    ) == [(Decimal("433.00"), Decimal("4.76"))]


@pytest.mark.parametrize(
    ("quantity", "price", "total"),
    [
        ("1.5", 62, 92),
        ("1.5", 62, "93.01"),
        ("1.5", 62, "-93"),
        (None, 62, 0),
        ("-1.5", 62, -93),
        ("0.1", "0.05", "0.005"),
        ("NaN", 62, 93),
        ("1.5", 62, "NaN"),
        ("1.5", "Infinity", "Infinity"),
        ("1e5000", "1e5000", 93),
    ],
)
def test_a_delivery_that_does_not_add_up_stops_its_own_invoice(
    books: Invoicing, quantity: str | None, price: str | int, total: str | int
) -> None:
    good, bad = books.household(deliveries=1), books.household(deliveries=1)
    books.run("alter table public.deliveries disable trigger user")
    delivery = books.delivery(bad, LAST, quantity=quantity, price=price, total=total)
    books.run("alter table public.deliveries enable trigger user")

    answer = books.bulk(customers=[good, bad])

    assert outcomes(answer) == {good: "invoiced", bad: "invalid_delivery"}
    assert (answer["invoices_created"], answer["skipped"]) == (1, 1)
    [stopped] = [each for each in answer["outcomes"] if each["outcome"] != "invoiced"]
    assert stopped["facts"]["delivery_id"] == str(delivery)
    assert stopped["invoice_id"] is None
    assert "2025-09-30" in stopped["reason"]


@pytest.mark.parametrize("total", ["49.99", "50.00"])
def test_half_a_paisa_may_have_been_rounded_either_way(books: Invoicing, total: str) -> None:
    customer = books.household()
    books.delivery(customer, FIRST, quantity="1.5", price="33.33", total=total)
    assert books.bulk(customers=[customer])["total_amount"] == Decimal(total)


@pytest.mark.parametrize(
    ("amount", "gst"),
    [("NaN", 0), ("10.001", 0), (10**10, 0), (10, 11), (10, -1), (10, "NaN")],
)
def test_a_sale_that_is_no_sum_of_money_stops_its_own_invoice(
    books: Invoicing, amount: str | int, gst: str | int
) -> None:
    good, bad = books.household(deliveries=1), books.household(deliveries=1)
    books.run("alter table public.sales disable trigger user")
    books.sale(bad, FIRST, amount, gst=gst)
    books.run("alter table public.sales enable trigger user")
    assert outcomes(books.bulk(customers=[good, bad])) == {good: "invoiced", bad: "invalid_sale"}


def test_a_sale_that_was_paid_by_itself_is_not_billed(books: Invoicing) -> None:
    """Whatever its status says: before gap 005 it may have stayed Pending."""
    customer = books.household(deliveries=1)
    sale = books.sale(customer, FIRST, 10)
    books.run("alter table public.sales disable trigger user")
    books.run("update public.sales set amount_paid = 10 where id = %s", sale)
    books.run("alter table public.sales enable trigger user")
    assert books.bulk(customers=[customer])["total_amount"] == 93


def test_more_than_an_invoice_can_say(books: Invoicing) -> None:
    customer = books.household()
    for _ in range(2):
        books.delivery(customer, FIRST, quantity=1, price="9999999999")
    assert outcomes(books.bulk(customers=[customer])) == {customer: "total_too_large"}


def test_nothing_to_bill_is_an_outcome(books: Invoicing) -> None:
    nobody, nothing = books.household(), books.household()
    books.delivery(nothing, FIRST, quantity=0)
    paid = books.household()
    books.sale(paid, FIRST, 10, status="Completed")
    answer = books.bulk(customers=[nobody, nothing, paid])
    assert set(outcomes(answer).values()) == {"nothing_to_bill"}
    assert (answer["invoices_created"], answer["total_amount"]) == (0, 0)
    assert answer["invoice_numbers"] == []


def test_one_invoiced_already_refuses_the_run(books: Invoicing) -> None:
    early, other = books.household(deliveries=3), books.household(deliveries=3)
    books.bulk((FIRST, FIRST), [early])
    with refused("already_invoiced", status=409) as facts:
        books.bulk(customers=[early, other])
    assert facts["customer_ids"] == [str(early)]
    assert books.rows("select from public.invoice_metadata where customer_id = %s", other) == []


def test_or_is_skipped_and_reported(books: Invoicing) -> None:
    early, other = books.household(deliveries=3), books.household(deliveries=3)
    [first] = books.bulk((FIRST, FIRST), [early])["outcomes"]
    answer = books.bulk(customers=[early, other], validate=False)
    assert outcomes(answer) == {early: "already_invoiced", other: "invoiced"}
    [skipped] = [each for each in answer["outcomes"] if each["outcome"] != "invoiced"]
    assert skipped["facts"]["invoice_id"] == first["invoice_id"]
    assert first["invoice_number"] in skipped["reason"]


@pytest.mark.parametrize(
    ("status", "outcome"), [("draft", "already_invoiced"), ("cancelled", "invoiced")]
)
def test_drafts_count_and_cancelled_do_not(books: Invoicing, status: str, outcome: str) -> None:
    customer = books.household(deliveries=1)
    books.app_invoice(customer, LAST, LAST, status=status)
    assert outcomes(books.bulk(customers=[customer], validate=False)) == {customer: outcome}


def test_everyone_with_something_to_bill(books: Invoicing) -> None:
    with_milk = books.household(deliveries=1)
    with_sale = books.household()
    books.sale(with_sale, FIRST, 10)
    without = books.household()
    answer = books.bulk()
    assert {with_milk, with_sale} <= outcomes(answer).keys()
    assert without not in outcomes(answer)
    assert set(outcomes(answer).values()) == {"invoiced"}
    assert books.bulk()["outcomes"] == []
    assert books.broken() == []


def test_everyone_is_who_has_something_up_to_the_last_day(books: Invoicing) -> None:
    delivered, bought, idle, later = (books.household() for _ in range(4))
    books.delivery(delivered, OCTOBER[1])
    books.sale(bought, OCTOBER[1], 50)
    books.delivery(later, OCTOBER[1] + timedelta(days=1))
    found = outcomes(books.bulk(OCTOBER))
    assert found[delivered] == found[bought] == "invoiced"
    assert {idle, later}.isdisjoint(found)


def test_everyone_where_a_late_one_waits_for_the_next_period(books: Invoicing) -> None:
    """He is one of those with something to bill, and invoiced already."""
    customer = books.household(deliveries=1)
    books.bulk()
    books.delivery(customer, LAST)
    with refused("already_invoiced", status=409):
        books.bulk()
    assert outcomes(books.bulk(validate=False)) == {customer: "already_invoiced"}
    assert outcomes(books.bulk(OCTOBER)) == {customer: "invoiced"}


def test_numbers_follow_the_names_without_a_hole(books: Invoicing) -> None:
    customers = {
        name: books.household(name=name, deliveries=1) for name in ("Zoya", "Aarav", "Meera")
    }
    answer = books.bulk(customers=list(customers.values()))
    numbers = answer["invoice_numbers"]
    assert [each["customer_id"] for each in answer["outcomes"]] == [
        str(customers[name]) for name in ("Aarav", "Meera", "Zoya")
    ]
    assert [each["invoice_number"] for each in answer["outcomes"]] == numbers
    assert [int(number) - int(numbers[0]) for number in numbers] == [0, 1, 2]


def test_a_customer_named_twice_counts_once(books: Invoicing) -> None:
    customer = books.household(deliveries=1)
    assert books.bulk(customers=[customer, customer])["invoices_created"] == 1


def test_the_preview_says_what_the_run_does_and_writes_nothing(books: Invoicing) -> None:
    customers = [books.household(billing_day=9, deliveries=2) for _ in range(3)]
    books.sale(customers[0], FIRST, 105, gst=5)
    books.delivery(customers[1], LAST, total=1)
    books.app_invoice(customers[2], FIRST, LAST)
    nobody = books.household()
    before = books.value("select count(*) from public.invoice_metadata")
    planned = books.preview(customers=[*customers, nobody])
    assert books.value("select count(*) from public.invoice_metadata") == before
    answer = books.bulk(customers=[*customers, nobody], validate=False)
    assert outcomes(answer) == {each: row["outcome"] for each, row in planned.items()}
    [made] = [each for each in answer["outcomes"] if each["outcome"] == "invoiced"]
    invoice, plan = books.invoice_row(made["invoice_id"]), planned[customers[0]]
    for column in (
        "subscription_amount",
        "manual_sales_amount",
        "gst_amount",
        "total_amount",
        "due_date",
    ):
        assert invoice[column] == plan[column], column
    assert plan["lines"] == 3
    assert {planned[each]["total_amount"] for each in customers[1:]} == {None}
    assert [each["reason"] for each in answer["outcomes"]] == [
        row["reason"] for row in planned.values()
    ]


def test_the_preview_of_everyone_is_the_run_of_everyone(books: Invoicing) -> None:
    planned = books.preview()
    assert outcomes(books.bulk()) == {each: row["outcome"] for each, row in planned.items()}
    assert books.preview() == {}


@pytest.mark.parametrize(
    ("period", "reason"),
    [
        ((None, LAST), "period_required"),
        ((FIRST, None), "period_required"),
        ((LAST, FIRST), "period_invalid"),
        ((date(2025, 1, 1), date(2026, 1, 2)), "period_invalid"),
        ((date(1999, 12, 31), date(2000, 1, 1)), "period_invalid"),
        ((date(3000, 1, 1), date(3000, 1, 2)), "period_invalid"),
    ],
)
def test_what_is_no_period(
    books: Invoicing, period: tuple[date | None, date | None], reason: str
) -> None:
    with refused(reason, status=400):
        books.bulk(period)
    with refused(reason, status=400):
        books.preview(period)


@pytest.mark.parametrize("day", ["infinity", "-infinity", "5874897-12-31", "4713-01-01 BC"])
@pytest.mark.parametrize("at", [0, 1])
def test_days_out_of_this_world(books: Invoicing, day: str, at: int) -> None:
    days = ["2025-09-01", "2025-09-30"]
    days[at] = day
    with refused("period_invalid", status=400):
        books.ask("public.generate_bulk_invoices_atomic(%s::date, %s::date, null)", *days)


@pytest.mark.parametrize("day", [date(2000, 1, 1), date(2999, 12, 31)])
def test_the_first_day_and_the_last_are_a_period(books: Invoicing, day: date) -> None:
    customer = books.household()
    books.delivery(customer, day)
    assert books.bulk((day, day), [customer])["invoices_created"] == 1


def test_a_year_is_a_period(books: Invoicing) -> None:
    customer = books.household(deliveries=1)
    assert books.bulk((date(2024, 10, 1), LAST), [customer])["invoices_created"] == 1


def test_who_is_no_customer(books: Invoicing) -> None:
    stranger = uuid4()
    with refused("customers_empty", status=400):
        books.bulk(customers=[])
    with refused("customer_required", status=400):
        books.bulk(customers=[None])
    with refused("customer_not_found", status=404) as facts:
        books.bulk(customers=[books.household(deliveries=1), stranger])
    assert facts["customer_ids"] == [str(stranger)]
    with refused("customer_not_found", status=404):
        books.preview(customers=[stranger])


def test_a_list_of_lists_is_the_list_of_all(books: Invoicing) -> None:
    one, two = books.household(deliveries=1), books.household(deliveries=1)
    answer = books.ask(
        "public.generate_bulk_invoices_atomic(%s, %s, array[[%s::uuid], [%s::uuid]])",
        *SEPTEMBER,
        one,
        two,
    )
    assert answer["invoices_created"] == 2


def test_a_failure_leaves_nothing(books: Invoicing) -> None:
    """It went on after a failure and left a half-made month."""
    customers = [books.household(deliveries=2) for _ in range(20)]
    books.run(
        "create function public.fail_late() returns trigger language plpgsql as"
        " $$ begin if new.total_amount = 93 then raise exception 'no'; end if;"
        " return new; end; $$"
    )
    books.run(
        "create trigger fail_late before insert on public.invoice_metadata"
        " for each row execute function public.fail_late()"
    )
    books.run(
        "delete from public.deliveries where id = ("
        " select id from public.deliveries where customer_id = %s limit 1)",
        customers[-1],
    )
    with pytest.raises(psycopg.errors.RaiseException):
        books.bulk(customers=customers)
    books.run("drop trigger fail_late on public.invoice_metadata")
    assert books.value("select count(*) from public.invoice_metadata") == 0
    answer = books.bulk(customers=customers)
    assert answer["invoice_numbers"][0].endswith("00001")


def test_a_key_gives_the_first_answer_again(books: Invoicing) -> None:
    customers = [books.household(deliveries=1) for _ in range(2)]
    books.setting(KEY, "september")
    first = books.bulk(customers=customers)
    assert books.bulk(customers=customers[::-1] + customers) == first
    with refused("idempotency_key_reused", status=409):
        books.bulk(customers=customers, validate=False)
