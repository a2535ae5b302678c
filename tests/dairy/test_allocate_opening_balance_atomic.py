"""allocate_opening_balance_atomic, and what the tables hold of opening balances, whoever writes."""

from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest

from dairy.books import refused, ruled_out
from dairy.settling import Settling, silently
from dairy.undoing import roll_back, void
from support.databases import Database


@pytest.fixture
def books(dairy_005: Database) -> Settling:
    """The books with gap 005 fixed, kept by the owner; every statement commits."""
    return Settling(dairy_005.connect(autocommit=True))


@pytest.fixture
def pair(books: Settling) -> tuple[UUID, UUID]:
    """A payment of 800 and its customer, who owes 500 from before."""
    customer = books.customer(opening_balance=500)
    return books.payment(customer, 800), customer


def test_it_answers_with_both_sides(books: Settling, pair: tuple[UUID, UUID]) -> None:
    payment, customer = pair

    assert books.pay_opening(payment, customer, 300) == {
        "success": True,
        "allocated_amount": 300,
        "total_allocated": 300,
        "payment_amount": 800,
        "unapplied_amount": 500,
        "allocation_status": "partially_applied",
        "opening_balance_remaining": 200,
    }
    assert books.opening_paid(customer) == 300
    assert books.payment_totals(payment) == (300, 500, "partially_applied")
    assert books.unapplied(payment) == [500]
    assert books.broken() == []
    assert books.violations() == set()


def test_paying_more_with_the_same_payment_adds_to_its_row(
    books: Settling, pair: tuple[UUID, UUID]
) -> None:
    payment, customer = pair
    books.pay_opening(payment, customer, 300)
    books.pay_opening(payment, customer, "199.50")

    assert books.rows("select amount from public.opening_balance_payments") == [(Decimal("499.5"),)]
    assert books.opening_paid(customer) == Decimal("499.5")
    assert books.broken() == []


def test_the_app_may_call_it_and_the_journal_says_who(
    dairy_005: Database, books: Settling, pair: tuple[UUID, UUID]
) -> None:
    payment, customer = pair
    clerk, user = Settling(dairy_005.connect(role="authenticated", autocommit=True)), uuid4()
    clerk.setting("request.jwt.claims", f'{{"sub": "{user}", "role": "authenticated"}}')

    clerk.pay_opening(payment, customer, 100)
    clerk.pay_opening_directly(books.payment(customer, 50), customer, 50)

    assert books.rows(
        "select recorded_by, call_id is null, customer_id, amount_change"
        " from private.settlement_journal order by id"
    ) == [(str(user), False, customer, 100), (str(user), True, customer, 50)]
    stranger = Settling(dairy_005.connect(role="anon", autocommit=True))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        stranger.pay_opening(payment, customer, 1)


def test_refusals(books: Settling, pair: tuple[UUID, UUID]) -> None:
    payment, customer = pair
    with refused("payment_required", status=400):
        books.pay_opening(None, customer, 1)
    with refused("customer_required", status=400):
        books.pay_opening(payment, None, 1)
    with refused("payment_not_found", status=404):
        books.pay_opening(uuid4(), customer, 1)
    with refused("customer_not_found", status=404):
        books.pay_opening(payment, uuid4(), 1)
    with refused("allocation_exceeds_opening_balance", status=409) as facts:
        books.pay_opening(payment, customer, "500.01")
    assert facts == {"customer_id": str(customer), "requested": 500.01, "available": 500}
    with refused("allocation_exceeds_payment", status=409) as facts:
        books.pay_opening(books.payment(customer, 20), customer, 21)
    assert facts["available"] == 20
    with refused("customer_mismatch", status=422):
        books.pay_opening(payment, books.customer(opening_balance=500), 1)
    with refused("payment_without_customer", status=422):
        books.pay_opening(books.payment(None, 20), customer, 1)
    voided = books.payment(customer, 20)
    void(books, voided)
    with refused("payment_voided", status=409):
        books.pay_opening(voided, customer, 1)
    assert books.opening_paid(customer) == 0
    assert books.value("select count(*) from public.opening_balance_payments") == 0


def test_a_null_amount_is_refused_and_allocates_nothing(
    books: Settling, pair: tuple[UUID, UUID]
) -> None:
    """`LEAST` ignores null: the function of before allocated everything."""
    payment, customer = pair
    with refused("amount_required", status=400):
        books.pay_opening(payment, customer, None)
    assert books.payment_totals(payment) == (0, 800, "unapplied")
    assert books.opening_paid(customer) == 0


@pytest.mark.parametrize(
    "amount",
    ["0", "-1", "-0.01", "0.001", "10.005", "NaN", "Infinity", "-Infinity", "10000000000", "1e300"],
)
def test_what_is_no_sum_of_money_is_refused(
    books: Settling, pair: tuple[UUID, UUID], amount: str
) -> None:
    payment, customer = pair
    with refused("amount_invalid", status=400):
        books.pay_opening(payment, customer, amount)


def test_trailing_zeros_are_no_decimals(books: Settling, pair: tuple[UUID, UUID]) -> None:
    payment, customer = pair
    assert books.pay_opening(payment, customer, "10.5000")["allocated_amount"] == Decimal("10.5")


def test_an_opening_balance_that_is_no_sum_of_money_takes_none(
    dairy_005: Database, books: Settling, pair: tuple[UUID, UUID]
) -> None:
    payment, customer = pair
    change = "update public.customers set opening_balance = %s where id = %s"
    for strange, left in (("NaN", 0), ("Infinity", 0), ("0.005", 0), ("10.009", "10")):
        silently(dairy_005, change, strange, customer)
        with refused("allocation_exceeds_opening_balance") as facts:
            books.pay_opening(payment, customer, 11)
        assert facts["available"] == Decimal(left)
        with ruled_out("customers_paid_within_opening_balance"):
            books.pay_opening_directly(payment, customer, 11)


class TestKeys:
    """An idempotency key makes a call that is sent twice happen once, and undoes it."""

    def test_the_first_answer_comes_again(self, books: Settling, pair: tuple[UUID, UUID]) -> None:
        payment, customer = pair
        books.with_key("one")
        first = books.pay_opening(payment, customer, 100)
        assert books.pay_opening(payment, customer, "100.00") == first
        with refused("idempotency_key_reused", status=409):
            books.pay_opening(payment, customer, "100.01")
        assert books.opening_paid(customer) == 100

    def test_undoing_takes_off_what_this_call_put_there(
        self, books: Settling, pair: tuple[UUID, UUID]
    ) -> None:
        payment, customer = pair
        first = books.with_key()
        books.pay_opening(payment, customer, 100)
        books.with_key()
        books.pay_opening(payment, customer, 50)

        books.with_key(first)
        undone = roll_back(books, payment)

        assert undone == (True, 0, 100, False)
        assert books.opening_paid(customer) == 50
        assert roll_back(books, payment) == undone
        with refused("request_undone", status=409):
            books.pay_opening(payment, customer, 100)
        assert books.rows(
            "select amount_change, reason from private.settlement_journal order by id"
        ) == [(100, None), (50, None), (-100, "rolled back")]
        assert books.broken() == []

    def test_a_key_that_came_too_late_is_spent(
        self, books: Settling, pair: tuple[UUID, UUID]
    ) -> None:
        payment, customer = pair
        books.with_key()
        assert roll_back(books, payment).removed_amount == 0
        with refused("request_undone", status=409):
            books.pay_opening(payment, customer, 100)

    def test_without_a_key_only_direct_writes_come_off(
        self, books: Settling, pair: tuple[UUID, UUID]
    ) -> None:
        payment, customer = pair
        other = books.payment(customer, 70)
        books.pay_opening(payment, customer, 100)
        books.pay_opening_directly(other, customer, 70)

        assert roll_back(books, payment).removed_amount == 0
        assert roll_back(books, other) == (True, 0, 70, True)
        assert books.opening_paid(customer) == 100


class TestDirectWrites:
    """What the app writes into the tables itself."""

    def test_its_insert_and_delete_are_counted(
        self, books: Settling, pair: tuple[UUID, UUID]
    ) -> None:
        payment, customer = pair
        books.pay_opening_directly(payment, customer, 300)
        assert books.opening_paid(customer) == 300
        books.run("update public.opening_balance_payments set amount = 400")
        assert books.opening_paid(customer) == 400
        books.run("update public.opening_balance_payments set allocated_at = now()")
        books.run("delete from public.opening_balance_payments")
        assert books.opening_paid(customer) == 0
        assert books.rows("select amount_change from private.settlement_journal order by id") == [
            (300,),
            (100,),
            (-400,),
        ]
        assert books.broken() == []

    def test_deleting_a_payment_is_a_series(self, books: Settling, pair: tuple[UUID, UUID]) -> None:
        payment, customer = pair
        books.pay_opening_directly(payment, customer, 300)
        for table in ("opening_balance_payments", "unapplied_payments"):
            books.run(f"delete from public.{table} where payment_id = %s", payment)
        books.run("delete from public.payments where id = %s", payment)
        assert books.opening_paid(customer) == 0
        assert books.broken() == []

    def test_beyond_the_balance_is_refused(self, books: Settling, pair: tuple[UUID, UUID]) -> None:
        payment, customer = pair
        with ruled_out("customers_paid_within_opening_balance"):
            books.pay_opening_directly(payment, customer, 501)
        books.pay_opening_directly(payment, customer, 500)
        with ruled_out("customers_paid_within_opening_balance"):
            books.pay_opening_directly(books.payment(customer, 1), customer, 1)
        with ruled_out("customers_paid_within_opening_balance"):
            books.run("update public.opening_balance_payments set amount = 500.01")

    def test_a_stranger_is_refused(self, books: Settling, pair: tuple[UUID, UUID]) -> None:
        payment, customer = pair
        stranger = books.customer(opening_balance=500)
        with ruled_out("opening_balance_payments_same_customer"):
            books.pay_opening_directly(payment, stranger, 1)
        with ruled_out("payments_allocated_have_customer"):
            books.pay_opening_directly(books.payment(None, 10), stranger, 1)
        books.pay_opening_directly(payment, customer, 1)
        with ruled_out("opening_balance_payments_same_customer"):
            books.run("update public.opening_balance_payments set customer_id = %s", stranger)
        assert books.opening_paid(stranger) == 0
        assert books.opening_paid(customer) == 1

    def test_a_row_may_go_over_to_another_payment_of_the_customer(
        self, books: Settling, pair: tuple[UUID, UUID]
    ) -> None:
        payment, customer = pair
        other = books.payment(customer, 300)
        books.pay_opening_directly(payment, customer, 300)
        books.run("update public.opening_balance_payments set payment_id = %s", other)
        assert books.payment_totals(other).applied == 300
        assert books.payment_totals(payment).applied == 0
        assert books.opening_paid(customer) == 300
        assert books.broken() == []

    def test_the_balance_is_not_edited_below_what_is_paid(
        self, books: Settling, pair: tuple[UUID, UUID]
    ) -> None:
        payment, customer = pair
        books.pay_opening(payment, customer, 300)
        change = "update public.customers set opening_balance = %s where id = %s"
        for below in ("299.99", "0", None):
            with ruled_out("customers_paid_within_opening_balance"):
                books.run(change, below, customer)
        books.run(change, 300, customer)
        with refused("allocation_exceeds_opening_balance"):
            books.pay_opening(payment, customer, 1)
        books.run(change, 301, customer)
        books.pay_opening(payment, customer, 1)

    @pytest.mark.parametrize("balance", ["NaN", "Infinity", "10000000000", "0.001"])
    def test_the_balance_is_a_sum_of_money(self, books: Settling, balance: str) -> None:
        customer = books.customer(opening_balance="10.10")
        with ruled_out("customers_opening_balance_valid"):
            books.run(
                "update public.customers set opening_balance = %s where id = %s", balance, customer
            )
        with ruled_out("customers_opening_balance_valid"):
            books.customer(opening_balance=balance)

    def test_the_callers_word_for_the_counter_is_not_believed(
        self, books: Settling, pair: tuple[UUID, UUID]
    ) -> None:
        payment, customer = pair
        books.pay_opening(payment, customer, 300)
        books.run(
            "update public.customers set opening_balance_paid = 0, phone_primary = '1'"
            " where id = %s",
            customer,
        )
        assert books.opening_paid(customer) == 300
        assert books.value("select phone_primary from public.customers where id = %s", customer)
        made = books.value(
            "insert into public.customers (billing_name, opening_balance, opening_balance_paid)"
            " values ('A customer', 100, 100) returning id"
        )
        assert books.opening_paid(made) == 0

    def test_an_offender_of_before_can_be_touched_and_get_better(
        self, dairy_005: Database, books: Settling, pair: tuple[UUID, UUID]
    ) -> None:
        payment, customer = pair
        books.pay_opening(payment, customer, 500)
        silently(dairy_005, "update public.customers set opening_balance = 100.001")
        assert books.violations() >= {
            "opening_balances_within_balance",
            "opening_balances_valid",
        }
        books.run("update public.customers set phone_primary = '1' where id = %s", customer)
        books.run("update public.opening_balance_payments set amount = 400")
        books.run("update public.customers set opening_balance = 200 where id = %s", customer)
        with ruled_out("customers_paid_within_opening_balance"):
            books.run("update public.opening_balance_payments set amount = 401")
        with ruled_out("customers_paid_within_opening_balance"):
            books.run("update public.customers set opening_balance = 150 where id = %s", customer)
        books.run("delete from public.opening_balance_payments")
        assert books.opening_paid(customer) == 0

    def test_the_journal_is_only_appended_to(
        self, books: Settling, pair: tuple[UUID, UUID]
    ) -> None:
        books.pay_opening(*pair, 1)
        for statement in (
            "update private.settlement_journal set amount_change = 2",
            "delete from private.settlement_journal",
            "truncate private.settlement_journal",
        ):
            with ruled_out("settlement_journal_append_only"):
                books.run(statement)


def test_voiding_gives_the_balance_back(books: Settling, pair: tuple[UUID, UUID]) -> None:
    payment, customer = pair
    books.pay_opening(payment, customer, 300)
    void(books, payment, "cheque returned")
    assert books.opening_paid(customer) == 0
    assert books.rows(
        "select amount_change, reason, call_id is null from private.settlement_journal order by id"
    ) == [(300, None, False), (-300, "cheque returned", False)]
    assert books.broken() == []
