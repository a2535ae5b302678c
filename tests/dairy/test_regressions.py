"""What went wrong when such fixes were made without proof, so that it stays away."""

import re
from decimal import Decimal

import psycopg
import pytest

from dairy.books import Books, refused, ruled_out
from dairy.scripts import FUNCTIONS, MIGRATION
from support.databases import Database


def bodies() -> dict[str, str]:
    """The code of each function, without comments."""
    return {
        path.stem: re.sub(r"--.*", "", path.read_text().partition("as $$")[2].partition("$$;")[0])
        for path in FUNCTIONS
    }


def test_a_function_that_was_only_created_is_not_proven(dairy_001: Database) -> None:
    """No payment could be recorded for eight days: plpgsql binds late. So all are executed here."""
    books = Books(dairy_001.connect(user="supabase_admin"))
    books.run("set track_functions = 'all'")
    customer = books.customer(opening_balance=100)
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 500)
    sale = books.value(
        "insert into public.sales (customer_id, product_id, quantity, unit_price, total_amount,"
        " sale_type, payment_status) select %s, id, 1, 70, 70, 'Credit', 'Billed'"
        " from public.products limit 1 returning id",
        customer,
    )
    books.run(
        "insert into public.invoice_line_items (invoice_id, sale_id) values (%s, %s)", invoice, sale
    )
    books.run("select public.update_invoice_status(%s)", invoice)
    books.setting("pymilk.idempotency_key", "all of them")
    books.allocate(payment, {invoice: 500})
    books.rows("select * from public.request_outcome('all of them')")
    books.setting("pymilk.idempotency_key", "")
    books.run("update public.payments set payment_date = '2025-09-11', amount_applied = 5")
    books.run("update public.invoice_payments set amount_allocated = 400")
    books.run(
        "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
        " values (%s, %s, 100)",
        customer,
        payment,
    )
    books.run(
        "insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
        " values (%s, %s, 70)",
        sale,
        payment,
    )
    assert books.broken() == []
    for rule, statement in (
        ("payments_amount_valid", "update public.payments set amount = 'NaN'"),
        ("invoice_payments_counted", "truncate public.invoice_payments"),
    ):
        books.run("savepoint before")
        with ruled_out(rule):
            books.run(statement)
        books.run("rollback to before")

    called = {
        name
        for (name,) in books.rows(
            "select funcname from pg_stat_xact_user_functions where calls > 0"
        )
    }
    # These two are proven by what they refused, and undone with it.
    made = set(re.findall(r"(?m)^-- >>> \S+/(\w+)\.sql ", MIGRATION.read_text()))
    assert made - called <= {"refuse_row", "refuse_statement"}


def test_a_refusal_commits_nothing(books: Books) -> None:
    """It returned success:false after it had inserted rows: those rows were committed."""
    customer = books.customer()
    payment = books.payment(customer, 800)
    good, bad = books.invoice(customer, 500), books.invoice(books.customer(), 500)
    with refused("customer_mismatch"):
        books.allocate(payment, {good: 100, bad: 100})
    assert books.allocations(payment) == {}
    assert books.invoice_totals(good) == (0, 500, "sent")


def test_no_error_is_eaten() -> None:
    """`exception when others` ate deadlocks: 102 of 240 totals wrong, every call "ok"."""
    for name, body in bodies().items():
        assert not re.search(r"(?i)\bwhen\s+others\b", body), name
        assert not re.search(r"(?i)^\s*exception\s*$", body, re.MULTILINE), name


def test_a_status_never_comes_without_its_amounts(books: Books) -> None:
    """28 of 57 payments were wrong: the status was set, and the amounts forgotten."""
    customer = books.customer()
    for number in range(57):
        payment, invoice = books.payment(customer, 100), books.invoice(customer, 100)
        if number % 2:
            books.allocate(payment, {invoice: 1 + number})
        else:
            books.allocate_directly(payment, invoice, 1 + number)
    assert books.value(
        "select sum(amount_applied) from public.payments where customer_id = %s", customer
    ) == sum(range(1, 58))
    assert books.broken() == []


def test_nothing_is_called_that_is_not_in_the_database() -> None:
    """The migration that fixed this called a function that existed only in the web app."""
    ours = {path.stem for path in FUNCTIONS}
    for name, body in bodies().items():
        called = set(re.findall(r"\b(?:public|private)\.(\w+)\(", body))
        assert called <= ours, name


def test_a_missing_amount_is_not_everything(books: Books) -> None:
    """`p_amount` null allocated everything: LEAST ignores null."""
    customer = books.customer()
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 500)
    for amount in ('"amount": null', '"amounts": 5'):
        for validate in (True, False):
            with refused("allocation_malformed"):
                books.call(payment, f'[{{"invoiceId": "{invoice}", {amount}}}]', validate=validate)
    assert books.allocations(payment) == {}


def test_nan_is_no_amount(books: Books) -> None:
    """It was stored as an amount."""
    customer = books.customer()
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 500)
    with refused("amount_invalid"):
        books.allocate(payment, {invoice: "NaN"})
    with ruled_out("payments_amount_valid"):
        books.payment(customer, "NaN")


def test_anon_executes_no_definer(dairy_hardened: Database) -> None:
    """It could execute sixteen SECURITY DEFINER functions."""
    exposed = Books(dairy_hardened.connect()).rows(
        "select oid::regprocedure from pg_proc where prosecdef"
        " and pronamespace in ('public'::regnamespace, 'private'::regnamespace)"
        " and has_function_privilege('anon', oid, 'execute')"
    )
    assert exposed == []


def test_no_argument_is_executed_as_sql() -> None:
    """A "preview" filter argument was executed as SQL."""
    executing = {name for name, body in bodies().items() if re.search(r"(?i)\bexecute\b", body)}
    # It grants what the catalog named, within a rollback, and belongs to the owner alone.
    assert executing == {"restore_privileges"}


def test_no_statement_of_ours_lacks_its_where() -> None:
    """The extension safeupdate refuses it through the API alone, where nobody looked."""
    for name, body in bodies().items():
        for statement in body.split(";"):
            if re.match(r"(?i)\s*(begin\s+)?(update|delete from)\b", statement):
                assert re.search(r"(?i)\bwhere\b", statement), name


def test_replacing_keeps_the_grants(dairy_hardened: Database) -> None:
    """Dropping and re-creating a function resets its grants."""
    for path in FUNCTIONS:
        assert not re.search(r"(?im)^\s*drop ", path.read_text()), path.stem
    books = Books(dairy_hardened.connect())
    grants = (
        "select proname, proacl::text from pg_proc where pronamespace = 'private'::regnamespace"
        " order by proname"
    )
    before = books.rows(grants)
    for path in FUNCTIONS:
        books.connection.execute(path.read_bytes())
    assert books.rows(grants) == before


def test_one_row_in_the_catalog_for_each_name(dairy_hardened: Database) -> None:
    """An overload makes every call of the API ambiguous."""
    twice = Books(dairy_hardened.connect()).rows(
        "select proname from pg_proc"
        " where pronamespace in ('public'::regnamespace, 'private'::regnamespace)"
        " group by proname having count(*) > 1"
    )
    assert twice == []


def test_an_error_of_the_database_passes_through_untouched(dairy_001: Database) -> None:
    """A lock timeout is told as one, not as a refusal or as success."""
    first, second = Books(dairy_001.connect()), Books(dairy_001.connect(autocommit=True))
    customer = first.customer()
    payment, invoice = first.payment(customer, 800), first.invoice(customer, 500)
    first.connection.commit()
    first.allocate(payment, {invoice: 100})
    second.run("set lock_timeout = '50ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        second.allocate(payment, {invoice: 100})
    first.connection.commit()
    assert second.payment_totals(payment).applied == Decimal(100)
