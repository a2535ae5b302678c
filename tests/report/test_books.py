"""The report of the books: the dairy's own queries, and those of any other project."""

from decimal import Decimal

import pytest

from pymilk.database.connection import Target
from pymilk.problem import UsageProblem
from pymilk.project.policy import Preset
from pymilk.project.project import Project, load_project
from pymilk.report.books import Books, read_books
from pymilk.report.page import Format, books_page
from pymilk.report.wording import Wording, wording_of
from support.databases import ROOT, Database
from support.pages import Page, read_page
from support.projects import Toy
from support.reported import HISTORY


def read(database: Database, project: Project) -> Books:
    return read_books(Target(database.url, Preset.LOCAL), project, wording_of(project))


def page_of(database: Database, project: Project) -> Page:
    return read_page(books_page(read(database, project), wording_of(project), Format.HTML))


def amounts(page: Page, heading: str, column: int) -> Decimal:
    """The sum of a column of a table, as a reader adds it up."""
    cells = (row[column] for row in page.table(heading).values())
    return sum((Decimal(cell.strip("₹").replace(",", "")) for cell in cells), Decimal(0))


@pytest.mark.parametrize("stage", ["dairy", "dairy_hardened"])
def test_the_books_of_the_dairy_add_up(stage: str, request: pytest.FixtureRequest) -> None:
    """Before any gap and after all of them, they say what sql/state says."""
    database: Database = request.getfixturevalue(stage)
    session = database.connect(user="supabase_admin", autocommit=True)
    session.execute(HISTORY)
    project = load_project(ROOT)
    totals = next(query for query in project.state if query.path.stem == "totals")
    said: dict[str, Decimal] = dict(session.execute(totals.text.encode()).fetchall())
    page = page_of(database, project)
    owed, status = "What customers owe, by how long it has been due.", "Payments, by how much of"
    ages = page.table(owed)
    assert list(ages) == [
        "opening balance",
        "not due",
        "1 to 30 days",
        "31 to 60 days",
        "61 to 90 days",
        "over 90 days",
    ]
    assert amounts(page, owed, 1) == said["outstanding"]
    assert all(ages[age][0] != "0" for age in list(ages)[:5])
    status = "Payments, by how much of them is allocated."
    assert amounts(page, status, 1) == said["received"]
    assert amounts(page, status, 2) == said["allocated to invoices"]
    assert amounts(page, status, 3) == said["unapplied"]
    assert page.table(status)["unapplied"] == ["1", "₹2,500.50", "₹0.00", "₹2,500.50"]
    receipts = page.section("Money received, by month and method.")
    assert {cell.get_text() for cell in receipts.select("td:nth-child(2)")} == {"Cash", "UPI"}
    for heading in (owed, status, "Money received, by month and method."):
        (chart,) = page.section(heading).find_all("svg")
        assert chart["role"] == "img"
        assert "₹" in chart.get_text()
    assert "₹2,500" in receipts.get_text()


def test_a_payment_that_was_voided_is_no_money(dairy_002: Database) -> None:
    session = dairy_002.connect(autocommit=True)
    session.execute(
        "insert into public.payments (customer_id, amount, payment_date, payment_method)"
        " select id, 300, current_date, 'Cash' from public.customers limit 2"
    )
    session.execute("select public.void_payment(id, 'bounced') from public.payments limit 1")
    page = page_of(dairy_002, load_project(ROOT))
    assert amounts(page, "Payments, by how much of them is allocated.", 1) == 300
    assert "₹600" not in page.said("Money received, by month and method.")


def test_books_of_any_project_in_one_snapshot(shop: Database, project: Project) -> None:
    page = page_of(shop, project)
    assert page.sentence.startswith("All is well. All rules of the books hold (1), as of ")
    assert page.table("What is owed, by bill.") == {
        "1": ["Asha", "₹100.00"],
        "2": ["Asha", "₹30.00"],
        "3": ["Bela", "₹75.25"],
        "4": ["Chitra", "₹10.00"],
    }
    assert "Bills that are paid are left out." in page.said("What is owed, by bill.")


def test_what_a_customer_is_called_is_text(shop: Database, project: Project) -> None:
    name = 'A & B <script>alert("1")</script>|`x`'
    session = shop.connect(autocommit=True)
    session.execute("update public.customers set name = %s where id = 1", (name,))
    books = read(shop, project)
    page = read_page(books_page(books, wording_of(project), Format.HTML))
    assert page.table("What is owed, by bill.")["1"] == [name, "₹100.00"]
    assert page.soup.find_all("script") == []
    written = books_page(books, wording_of(project), Format.MARKDOWN)
    assert "<script" not in written
    assert r'A &amp; B &lt;script&gt;alert("1")&lt;/script&gt;\|\`x\`' in written


def test_a_broken_rule_comes_with_its_rows(toy: Toy, shop: Database) -> None:
    query = "select 'bill' as entity, b.id from public.bills as b where b.paid >= 0"
    toy.write("sql/invariants", "overpaid", f"-- Nothing is paid.\n-- do: pay it back.\n{query}")
    session = shop.connect(autocommit=True)
    session.execute(
        "insert into public.bills (customer_id, amount) select 1, 7 from generate_series(1, 9)"
    )
    page = page_of(shop, load_project(toy.root))
    assert page.sentence.startswith("Something is wrong. 1 of 1 rules of the books is broken")
    said = page.said("The rules of the books")
    assert "overpaid: broken by 13 rows Nothing is paid. To do: pay it back." in said
    assert "And 8 more rows." in said
    assert len(page.section("The rules of the books").find_all("tr")) == 6


def test_one_that_cannot_be_read_hides_no_other(toy: Toy, shop: Database) -> None:
    toy.write("sql/books", "a_broken_one", "-- A broken one.\nselect * from public.no_such_table;")
    page = page_of(shop, load_project(toy.root))
    assert page.sentence.startswith("Have a look. What could be read holds, but 1 query could not")
    assert "no_such_table" in page.said("A broken one.")
    assert page.table("What is owed, by bill.")


@pytest.mark.parametrize(
    "chart", ["pie of owed", "bars of owed by nobody", "columns of owed by bill"]
)
def test_an_odd_chart_is_named(chart: str, toy: Toy, shop: Database) -> None:
    toy.write("sql/books", "odd", f"-- Odd.\n-- chart: {chart}\nselect 1 as bill, 2 as owed;")
    with pytest.raises(UsageProblem, match=rf"books/odd.sql: 'chart: {chart}' can't be drawn"):
        read(shop, load_project(toy.root))


def test_numbers_that_are_none_are_shown_and_not_drawn(toy: Toy, shop: Database) -> None:
    toy.write(
        "sql/books",
        "odd",
        "-- Odd.\n-- money: owed\n-- chart: bars of owed by bill\n"
        "select * from (values (1, 'NaN'::numeric, true), (2, null, null), (3, 0.005, false))"
        " as odd (bill, owed, paid);",
    )
    page = page_of(shop, load_project(toy.root))
    assert page.table("Odd.") == {
        "1": ["NaN", "yes"],
        "2": ["", ""],
        "3": ["₹0.005", "no"],
    }


def test_a_project_without_books(toy: Toy, shop: Database) -> None:
    toy.write("sql/books", "by_bill", None)
    toy.write("sql/invariants", "overpaid", None)
    with pytest.raises(UsageProblem, match="says nothing of its books"):
        read(shop, load_project(toy.root))


def test_the_books_in_markdown(shop: Database, project: Project, wording: Wording) -> None:
    written = books_page(read(shop, project), wording, Format.MARKDOWN)
    table = (
        "| bill | customer | owed |\n|--:|---|--:|\n| 1 | Asha | ₹100.00 |\n| 2 | Asha | ₹30.00 |"
    )
    assert table in written
    assert "- 1 of 1 hold." in written
