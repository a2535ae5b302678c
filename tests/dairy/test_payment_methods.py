"""The method of a payment: one name, whatever people call it, and limits that the table holds."""

import json

import pytest

from dairy.books import Books, Money, refused, ruled_out
from dairy.settling import Settling
from dairy.stages import first_and_last
from support.databases import Database

ALIASES = {
    "Cash": ["Cash", "cash", " CASH ", "c-a-s-h"],
    "UPI": ["UPI", "upi", "gpay", "G Pay", "g_pay", "PhonePe", "phone-pe", "Paytm", "BHIM", "QR"],
    "Bank Transfer": [
        "Bank Transfer",
        "BANK-TRANSFER",
        "bank\n transfer\r",
        "bank",
        "NEFT",
        "imps",
    ],
    "Cheque": ["Cheque", "cheque", "check", "DD", "d d", "\tcheque\v\f"],
    "Online": ["Online", "net banking", "NetBanking", "net-banking"],
    "Card": ["Card", "debit card", "Credit Card", "credit_card"],
}
HOSTILE = [
    "barter",
    "cashier",
    "UPI;drop table payments",
    "\u0421ash",  # a Cyrillic letter that looks like C
    "\uff35\uff30\uff29",  # full width
    "UP\u0130",  # a dotted I, which some locales fold to i
    "U\u200bPI",  # a space of no width
    "\u202eIPU",  # from right to left
    "\u00a0",
    "Cash\u0301",
    "\U0001f4b8",
    "x" * 1_000_000,
    "%",
    "null",
]
LIMITS = [
    ("Cash", "0.01", "50000"),
    ("UPI", "1", "100000"),
    ("Online", "1", "100000"),
    ("Card", "1", "100000"),
    ("Cheque", "1000", "1000000"),
    ("Bank Transfer", "1", "1000000"),
]


database = first_and_last("dairy_009")


@pytest.fixture
def app(database: Database) -> Settling:
    """The app's session: role authenticated, every statement commits."""
    return Settling(database.connect(role="authenticated", autocommit=True))


def record(books: Books, method: str | None, amount: Money = 1000) -> object:
    """Insert a payment as the app does; the method that comes back."""
    return books.value(
        "insert into public.payments (customer_id, amount, payment_date, payment_method)"
        " values (%s, %s, '2025-09-10', %s) returning payment_method",
        books.customer(),
        amount,
        method,
    )


class TestNormalizing:
    """normalize_payment_method, and what a direct write becomes."""

    @pytest.mark.parametrize("name", ALIASES)
    def test_each_has_one_name_whatever_people_call_it(self, app: Books, name: str) -> None:
        for alias in ALIASES[name]:
            assert app.value("select public.normalize_payment_method(%s)", alias) == name, alias
            assert record(app, alias) == name, alias

    @pytest.mark.parametrize("blank", ["", " ", "\t\n", " - _ ", None])
    def test_a_blank_is_none(self, app: Books, blank: str | None) -> None:
        assert app.value("select public.normalize_payment_method(%s)", blank) is None
        assert record(app, blank) is None

    @pytest.mark.parametrize("method", HOSTILE, ids=lambda each: ascii(each)[:30])
    def test_anything_else_is_refused(self, app: Settling, method: str) -> None:
        with refused("payment_method_unknown", status=422) as facts:
            app.value("select public.normalize_payment_method(%s)", method)
        assert facts["given"] == method[:200]
        with ruled_out("payments_method_known"):
            record(app, method)
        with refused("payment_method_unknown", status=422):
            app.record(amount=10, payment_method=method)
        assert app.value("select count(*) from public.payments") == 0

    def test_an_edit_is_spelled_too(self, app: Books) -> None:
        payment = app.payment(app.customer(), 800)
        app.run("update public.payments set payment_method = 'rtgs' where id = %s", payment)
        assert app.value("select payment_method from public.payments") == "Bank Transfer"
        app.run("update public.payments set payment_method = ' ' where id = %s", payment)
        assert app.value("select payment_method from public.payments") is None
        with ruled_out("payments_method_known"):
            app.run("update public.payments set payment_method = 'barter' where id = %s", payment)

    def test_the_collation_of_the_argument_changes_nothing(self, database: Database) -> None:
        books = Books(database.connect())
        collations = [
            name
            for (name,) in books.rows(
                "select distinct collname from pg_collation"
                " where collname ~* '^(c|posix|pg_|en|tr|az|lt)'"
                " and collencoding in (-1, (select encoding from pg_database"
                " where datname = current_database()))"
            )
        ]
        assert collations
        for collation in collations:
            for said, name in (("UPI", "UPI"), ("ONLINE", "Online"), ("upi", "UPI")):
                found = books.value(
                    f'select public.normalize_payment_method(%s collate "{collation}")', said
                )
                assert found == name, collation


class TestLimits:
    """What one payment of a method may come to."""

    @pytest.mark.parametrize(("method", "least", "most"), LIMITS)
    def test_both_ends_are_in(self, app: Settling, method: str, least: str, most: str) -> None:
        for amount in (least, most):
            assert record(app, method, amount) == method
            answer = app.record(amount=amount, payment_method=method)
            assert str(answer["payment_amount"]) == amount

    @pytest.mark.parametrize(("method", "least", "most"), LIMITS)
    def test_a_paisa_beyond_is_refused(
        self, app: Settling, method: str, least: str, most: str
    ) -> None:
        beyond = [f"{most}.01"] + ([] if method == "Cash" else [f"{int(least) - 1}.99"])
        customer = app.customer()
        for amount in beyond:
            with ruled_out("payments_method_within_limits"):
                record(app, method, amount)
            with refused("payment_method_limit_exceeded", status=422) as facts:
                app.record(customer_id=customer, amount=amount, payment_method=method)
            assert str(facts["amount"]) == amount
            assert facts["payment_method"] == method

    def test_without_a_method_there_is_no_limit(self, app: Settling) -> None:
        assert record(app, None, "9999999999.99") is None
        assert app.record(amount="9999999999.99")["success"] is True

    def test_edits_of_amount_and_method_are_held(self, app: Books) -> None:
        payment = app.payment(app.customer(), 60_000)
        for edit in ("amount = 100000.01", "payment_method = 'cash'", "amount = 0.5"):
            with ruled_out("payments_method_within_limits"):
                app.run(f"update public.payments set {edit} where id = %s", payment)
        app.run(
            "update public.payments set amount = 50000, payment_method = 'cash' where id = %s",
            payment,
        )
        assert app.violations() == set()

    def test_what_is_no_amount_at_all_is_told_first(self, app: Books) -> None:
        for amount in ("NaN", "-1", "0.001", "1e10"):
            with ruled_out("payments_amount_valid"):
                record(app, "UPI", amount)

    def test_update_payment_atomic_refuses_by_reason(self, app: Settling) -> None:
        payment = app.payment(app.customer(), 60_000)
        with refused("payment_method_limit_exceeded", status=422):
            app.ask(
                "public.update_payment_atomic(p_payment_id => %s, p_amount => 100000.01,"
                " p_allocations => null, p_reason => 'recounted')",
                payment,
            )
        assert app.payment_totals(payment) == (0, 60_000, "unapplied")

    def test_a_refused_call_leaves_nothing_behind(self, app: Settling) -> None:
        customer = app.customer()
        invoice = app.invoice(customer, 1000)
        key = app.with_key()
        with refused("payment_method_unknown"):
            app.record(
                customer_id=customer,
                amount=100,
                payment_method="barter",
                allocations=[{"invoiceId": str(invoice), "amount": 100}],
            )
        app.with_key(key)
        assert app.record(customer_id=customer, amount=100, payment_method="gpay")["success"]
        assert json.dumps(app.rows("select payment_method from public.payments")) == '[["UPI"]]'
