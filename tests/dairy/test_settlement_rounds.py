"""Many callers at once who record, settle, void and undo: nobody deadlocks, nothing is lost."""

from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from uuid import UUID

import psycopg
import pytest

from dairy.books import line
from dairy.settling import Settling
from dairy.undoing import roll_back, void
from support.databases import Database

CALLERS = 8


def one_caller(
    books: Settling, together: Barrier, chance: Random, customers: list[UUID], calls: int
) -> list[str]:
    """Make calls at random; the SQLSTATEs of those that were refused."""
    refusals = []
    for _ in range(calls):
        customer = chance.choice(customers)
        payments, invoices, sales = (
            [id_ for (id_,) in books.rows(query, customer)]
            for query in (
                "select id from public.payments where customer_id = %s",
                "select id from public.invoice_metadata where customer_id = %s",
                "select id from public.sales where customer_id = %s",
            )
        )
        payment = chance.choice(payments)
        named = chance.sample(sales, 3)
        lines = [line(each, chance.randint(1, 60)) for each in chance.sample(invoices, 3)]
        books.with_key(str(chance.randint(0, 40)))
        together.wait(timeout=60)
        try:
            match chance.randrange(7):
                case 0 | 1:
                    books.record(
                        customer_id=customer,
                        amount=500,
                        opening_balance=chance.randint(1, 40),
                        allocations=lines,
                        sales=[{"saleId": str(sale)} for sale in named],
                    )
                case 2:
                    books.pay_opening(payment, customer, chance.randint(1, 40))
                case 3:
                    books.pay_sales(payment, *named)
                case 4:
                    books.auto(payment, chance.choice(["opening_first", "oldest_first"]))
                case 5:
                    roll_back(books, payment)
                case _:
                    void(books, payment)
        except psycopg.DatabaseError as error:
            refusals.append(error.sqlstate or "")
    return refusals


def rounds(database: Database, seed: int, calls: int) -> None:
    """Let CALLERS make so many calls each, and look at the books afterwards."""
    books = Settling(database.connect(autocommit=True))
    customers = [books.customer(opening_balance=1000) for _ in range(2)]
    for customer in customers:
        sales = [books.sale(customer, 10) for _ in range(12)]
        for number in range(6):
            invoice = books.invoice(customer, 100)
            books.payment(customer, 300)
            if number % 2:
                books.bill(invoice, sales[number], sales[11 - number])
                books.make_up(invoice)
    sessions = [Settling(database.connect(autocommit=True)) for _ in range(CALLERS)]
    together = Barrier(CALLERS)
    with ThreadPoolExecutor(CALLERS) as pool:
        refusals = [
            refusal
            for made in pool.map(
                lambda number: one_caller(
                    sessions[number],
                    together,
                    Random(seed + number),  # noqa: S311 - repeatable
                    customers,
                    calls,
                ),
                range(CALLERS),
            )
            for refusal in made
        ]
    assert {refusal[:2] for refusal in refusals} <= {"PT"}
    assert len(refusals) < CALLERS * calls
    assert books.broken() == []
    assert books.violations() == set()


def test_nobody_deadlocks_and_nothing_is_lost(dairy_005: Database) -> None:
    rounds(dairy_005, seed=1, calls=15)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 20))
def test_round_after_round(dairy_hardened: Database, seed: int) -> None:
    rounds(dairy_hardened, seed=seed * CALLERS, calls=40)
