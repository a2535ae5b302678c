"""Everybody at once: the RPC, the app's direct writes, edits and cancellations, in random order.

Whatever meets whatever, a statement is done, refused by name, or a deadlock that PostgreSQL reports
(only where a direct write crosses another writer); and the books are right afterwards.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from uuid import UUID

import psycopg
import pytest

from dairy.books import Books
from support.databases import Database

WRITERS = 4
STEPS = 40


def act(books: Books, chance: Random, payments: Sequence[UUID], invoices: Sequence[UUID]) -> None:
    payment, invoice = chance.choice(payments), chance.choice(invoices)
    amount = chance.randint(1, 400)
    match chance.randint(0, 9):
        case 0 | 1 | 2:
            some = chance.sample(list(invoices), chance.randint(1, len(invoices)))
            books.allocate(payment, dict.fromkeys(some, amount), validate=chance.random() < 0.5)
        case 3 | 4:
            books.allocate_directly(payment, invoice, amount)
        case 5:
            books.run("delete from public.invoice_payments where payment_id = %s", payment)
        case 6:
            books.run(
                "update public.invoice_payments set amount_allocated = %s"
                " where payment_id = %s and invoice_id = %s",
                amount,
                payment,
                invoice,
            )
        case 7:
            books.run("update public.payments set amount = %s where id = %s", amount * 5, payment)
        case 8:
            books.run(
                "update public.invoice_metadata set invoice_status = %s where id = %s",
                chance.choice(["cancelled", "sent", "draft", "paid"]),
                invoice,
            )
        case _:
            books.run(
                "update public.payments set payment_date = date '2025-09-01' + %s where id = %s",
                chance.randint(0, 60),
                payment,
            )


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 40))]
)
def test_the_books_are_right_whatever_meets_whatever(dairy_001: Database, seed: int) -> None:
    watcher = Books(dairy_001.connect(autocommit=True))
    customer = watcher.customer()
    payments = [watcher.payment(customer, 1000) for _ in range(3)]
    invoices = [watcher.invoice(customer, 700) for _ in range(4)]

    def write(books: Books, number: int) -> list[str]:
        chance = Random(f"{seed} {number}")  # noqa: S311 - a test that can be run again
        outcomes = []
        for _ in range(STEPS):
            try:
                act(books, chance, payments, invoices)
            except psycopg.DatabaseError as error:
                outcomes.append(error.diag.sqlstate or "lost")
            else:
                outcomes.append("done")
        return outcomes

    sessions = [Books(dairy_001.connect(autocommit=True)) for _ in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as pool:
        outcomes = {
            outcome for each in pool.map(write, sessions, range(WRITERS)) for outcome in each
        }

    refusals = {"PT409", "23514", "23505"}  # by name, by rule, by the unique pair
    assert "done" in outcomes
    assert outcomes <= {"done", "40P01"} | refusals
    assert watcher.broken() == []
    assert watcher.violations() == set()
